"""The table contracts, as data.

Every table of the warehouse is described here once: column names, types, units, allowed ranges, the group a feature
belongs to and the rule by which a missing value is imputed. Schema checks, imputation, the column metadata in Dagster,
the header rows of the workbooks and the data dictionary all read these contracts; nothing else repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Imputation(StrEnum):
    """What happens to a feature that is null for a customer.

    ``CORE`` drops the customer, ``ZERO`` fills 0, ``MEAN`` fills the column's mean over the customers that were kept.
    """

    CORE = "core"
    ZERO = "zero"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, type
        ``type`` is an Ibis type name: ``string``, ``int64``, ``float64`` or ``timestamp`` (naive, UTC).
    description
        What the column means, in one sentence.
    unit
        Unit of a number, such as ``lines``, ``days`` or ``money``; empty where it has none.
    required
        Whether null is forbidden.
    minimum, maximum
        Bounds that every value keeps, both ends in.
    group
        Feature group (``volume``, ``returns``, ...); empty outside ``silver.customer_features``.
    imputation
        Rule for a missing value; None for a column that is not imputed.
    source
        ``table.column`` names that the column is made of, where they cannot be read off an expression.
    personal
        Whether a value can point to a person: it is never shown in clear in metadata, logs or pictures.
    allowed
        The only values that a text may have; empty where any text will do.
    references
        ``layer.table.column`` in which every value that is not null is found; empty where there is no such column.
    """

    name: str
    type: str
    description: str
    unit: str = ""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    group: str = ""
    imputation: Imputation | None = None
    source: tuple[str, ...] = ()
    personal: bool = False
    allowed: tuple[str, ...] = ()
    references: str = ""


@dataclass(frozen=True, slots=True)
class TableContract:
    """A table: where it lives, what one row stands for, its key and its columns in order.

    Parameters
    ----------
    row_for_each
        ``layer.table`` with a row of the same key for each row of this one, and no other; empty where there is none.
    never_empty
        Whether a table without rows is a fault. Such a table is also not to lose most of its rows from run to run.
    """

    layer: str
    name: str
    description: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    row_for_each: str = ""
    never_empty: bool = False

    @property
    def qualified_name(self) -> str:
        """``layer.name``, as a query would write it."""
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the contract."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name; raise KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.qualified_name} has no column {name!r}")


def _text(
    name: str,
    description: str,
    *,
    required: bool = False,
    personal: bool = False,
    allowed: tuple[str, ...] = (),
    references: str = "",
) -> Column:
    return Column(
        name, "string", description, required=required, personal=personal, allowed=allowed, references=references
    )


def _customer_id(source: str) -> Column:
    return Column("customer_id", "string", "Canonical customer id.", required=True, personal=True, source=(source,))


def _made_of(source: tuple[str, ...], *columns: Column) -> tuple[Column, ...]:
    return tuple(replace(column, source=source) for column in columns)


def _count(name: str, description: str, unit: str = "", *, required: bool = True) -> Column:
    return Column(name, "int64", description, unit=unit, required=required, minimum=0)


def _moment(name: str, description: str, *, required: bool = False) -> Column:
    return Column(name, "timestamp", description, unit="UTC", required=required)


_SOURCE_FILE = "bronze.source_files.source_file"

_LINE_COLUMNS = (
    _text("order_id", "Order number.", required=True, personal=True),
    _text(
        "customer_id",
        "Canonical customer id: trimmed; lower-cased when it is an e-mail address.",
        required=True,
        personal=True,
    ),
    _text("sku", "Stock-keeping unit.", required=True),
    _moment("order_date", "When the order was placed."),
    Column("quantity", "int64", "Units bought.", "units", minimum=1),
    Column("line_value", "float64", "Money paid for the whole line.", "money"),
    Column("return_quantity", "int64", "Units of this line sent back.", "units", required=True, minimum=0),
    _moment("return_date", "When they came back; never before the order."),
    _text("category", "Product category."),
    _text("brand", "Brand."),
    _text("return_reason", "Why the units came back, in the customer's words.", personal=True),
    _text("source_customer_id", "The customer id as the source wrote it.", required=True, personal=True),
    _text(
        "source_file", "File the line came from, relative to the source folder.", required=True, references=_SOURCE_FILE
    ),
    Column("source_row", "int64", "Row of that file or sheet, the first row being 1.", required=True, minimum=1),
    _text("quality_flags", "Codes of what was repaired in the line, joined by ';'; empty when clean.", required=True),
    _moment("ingested_at", "When the line entered the warehouse.", required=True),
)

DATE_FLAGS = ("BAD_ORDER_DATE", "BAD_RETURN_DATE", "RETURN_BEFORE_ORDER")
"""Quality flags of a line one of whose dates could not be used."""

ORDER_LINES = TableContract(
    "bronze",
    "order_lines",
    "Order lines that were kept: typed, deduplicated and traceable to file and row.",
    "One row per SKU of an order of a customer",
    ("order_id", "customer_id", "sku"),
    _LINE_COLUMNS,
    never_empty=True,
)

REJECTED_ROWS = TableContract(
    "bronze",
    "rejected_rows",
    "Rows that could not be kept, with the reason and the text as it stood in the source.",
    "One row per refused row of a source file",
    ("source_file", "source_row"),
    (
        _text(
            "source_file",
            "File the row came from, relative to the source folder.",
            required=True,
            references=_SOURCE_FILE,
        ),
        Column("source_row", "int64", "Row of that file or sheet, the first row being 1.", required=True, minimum=1),
        _text("reason", "Why the row was refused; starts with a code such as NO_CUSTOMER.", required=True),
        _text("raw_text", "The row as the source had it.", required=True, personal=True),
    ),
)

SOURCE_FILES = TableContract(
    "bronze",
    "source_files",
    "What was found in the source folder and what became of every row: read = kept + rejected + superseded + merged.",
    "One row per file and content hash",
    ("source_file", "content_hash"),
    (
        _text("source_file", "Path relative to the source folder.", required=True),
        _text("content_hash", "SHA-256 of the file's bytes; empty when it could not be read.", required=True),
        Column("size_bytes", "int64", "Size of the file.", "bytes", required=True, minimum=0),
        _text("layout", "Source layout that was recognised; empty when none was."),
        _text(
            "status",
            "What became of the file.",
            required=True,
            allowed=("loaded", "duplicate", "unusable", "ignored"),
        ),
        _text("reason", "Why the file was not loaded and what to do; or how it was read.", required=True),
        _count("rows_read", "Rows found in the file, its header aside.", "rows"),
        _count("rows_kept", "Rows that are order lines now.", "rows"),
        _count("rows_rejected", "Rows set aside in bronze.rejected_rows.", "rows"),
        _count("rows_superseded", "Exact repeats, and rows replaced by a later row or file.", "rows"),
        _count("rows_merged", "Rows added up into another line, matched cancellations included.", "rows"),
        _moment("loaded_at", "When this content was read.", required=True),
    ),
)


SUPERSEDED_LINES = TableContract(
    "bronze",
    "superseded_lines",
    "Lines that a later file has too; they come back when that file goes away or changes.",
    "One row per line of an earlier file whose key a later file has",
    ("source_file", "source_row"),
    _LINE_COLUMNS,
)

CANCELLATIONS = TableContract(
    "bronze",
    "cancellations",
    "Cancellations that do not name their sale, and what became of each.",
    "One row per cancellation row of a source file",
    ("source_file", "source_row"),
    (
        _text(
            "source_file",
            "File the row came from, relative to the source folder.",
            required=True,
            references=_SOURCE_FILE,
        ),
        Column("source_row", "int64", "Row of that file or sheet, the first row being 1.", required=True, minimum=1),
        _text("order_id", "Number of the cancellation.", required=True, personal=True),
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        _text("sku", "Stock-keeping unit.", required=True),
        _moment("cancelled_at", "When it was booked."),
        Column("quantity", "int64", "Units cancelled.", "units", required=True, minimum=1),
        Column("matched_quantity", "int64", "Units for which a purchase was found.", "units", required=True, minimum=0),
        _text(
            "outcome",
            "Whether a purchase was found; superseded: a later file has the cancellation too.",
            required=True,
            allowed=("matched", "partly matched", "unmatched", "superseded"),
        ),
        _text("raw_text", "The row as the source had it.", required=True, personal=True),
    ),
)

FILE_STATE = TableContract(
    "bronze",
    "file_state",
    "What the next load needs to know about the files of the last one.",
    "One row per row of bronze.source_files",
    ("source_file", "content_hash"),
    (
        _text("source_file", "As in bronze.source_files.", required=True),
        _text("content_hash", "As in bronze.source_files.", required=True),
        _text("path", "The file, without the sheet.", required=True),
        _text(
            "stamp",
            "Size, modification and change time: while it stays the same, the file is not opened.",
            required=True,
        ),
        _text("settings", "Fingerprint of the layouts and of the reader.", required=True),
        _count("superseded_within", "Rows superseded by another row of the same file.", "rows"),
        _count("merged_within", "Rows added up into another row of the same file.", "rows"),
    ),
    row_for_each="bronze.source_files",
)

FORGOTTEN_CUSTOMERS = TableContract(
    "bronze",
    "forgotten_customers",
    "Customers who asked to be forgotten, by a keyed hash: rows of theirs that come again are refused.",
    "One row per customer",
    ("customer_hash",),
    (
        _text(
            "customer_hash",
            "HMAC-SHA256 of the canonical customer id, with a key that is used for nothing else.",
            required=True,
            personal=True,
        ),
        _moment("forgotten_at", "When the first request was accepted.", required=True),
    ),
)

FULFILLED_REQUESTS = TableContract(
    "bronze",
    "fulfilled_requests",
    "Receipts of requests to forget customers: when nothing of them was left, and how many they were.",
    "One row per run that fulfilled requests",
    ("fulfilled_at",),
    (
        _moment("fulfilled_at", "When the tables were searched and nothing was left.", required=True),
        _moment("requested_at", "When the oldest of the requests was written.", required=True),
        _count("requests", "Files with requests.", "files"),
        _count("customers", "Distinct customers in them, those included whom no table knew.", "customers"),
    ),
)


def _feature(
    group: str,
    name: str,
    type_: str,
    unit: str,
    rule: Imputation,
    description: str,
    minimum: float | None = 0,
    maximum: float | None = None,
) -> Column:
    return Column(name, type_, description, unit=unit, minimum=minimum, maximum=maximum, group=group, imputation=rule)


_CORE, _ZERO, _MEAN = Imputation.CORE, Imputation.ZERO, Imputation.MEAN

CUSTOMER_FEATURES = TableContract(
    "silver",
    "customer_features",
    "Behaviour per customer; missing values imputed by the rule of their column.",
    "One row per customer",
    ("customer_id",),
    (
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        _text("source_customer_id", "The id as first seen in the source.", required=True, personal=True),
        _feature("volume", "order_count", "int64", "orders", _CORE, "Distinct orders.", 1),
        _feature("volume", "sku_count", "int64", "SKUs", _CORE, "Distinct SKUs bought.", 1),
        _feature("volume", "returned_line_count", "int64", "lines", _ZERO, "Returned lines."),
        _feature("volume", "mean_line_quantity", "float64", "units", _CORE, "Mean quantity per line.", 1),
        _feature("volume", "lines_per_order", "float64", "lines", _MEAN, "Lines divided by orders.", 1),
        _feature("returns", "return_rate", "float64", "share", _ZERO, "Returned lines divided by lines.", 0, 1),
        _feature(
            "returns",
            "return_quantity_ratio",
            "float64",
            "share",
            _ZERO,
            "Units returned divided by units bought, over lines whose quantity is known.",
            0,
            1,
        ),
        _feature("returns", "returned_sku_count", "int64", "SKUs", _ZERO, "Distinct SKUs among returned lines."),
        _feature("returns", "returned_lines_per_order", "float64", "lines", _ZERO, "Returned lines divided by orders."),
        _feature(
            "returns", "order_return_rate", "float64", "share", _ZERO, "Orders with a returned line / orders.", 0, 1
        ),
        _feature(
            "returns",
            "return_intensity",
            "float64",
            "share",
            _ZERO,
            "Mean over returned lines of units returned / units bought.",
            0,
            1,
        ),
        _feature(
            "returns",
            "return_streak_count",
            "int64",
            "runs",
            _ZERO,
            "Maximal runs of two or more dated orders in sequence that each have a returned line.",
        ),
        _feature(
            "returns",
            "mean_return_streak",
            "float64",
            "orders",
            _ZERO,
            "Mean length of maximal runs of dated orders in sequence with a returned line, runs of one included.",
        ),
        _feature("timing", "lifetime_days", "int64", "days", _CORE, "First to last order."),
        _feature(
            "timing",
            "mean_days_to_return",
            "float64",
            "days",
            _ZERO,
            "Mean of return date minus order date over returned lines that have both.",
        ),
        _feature(
            "timing", "std_days_to_return", "float64", "days", _ZERO, "Sample standard deviation of days to return."
        ),
        Column(
            "tenure_stage",
            "string",
            "Days from first order to as_of: New <= 90 < Growing <= 180 < Mature <= 365 < Veteran.",
            group="timing",
            allowed=("New", "Growing", "Mature", "Veteran"),
        ),
        _feature(
            "recency",
            "recent_order_count",
            "int64",
            "orders",
            _MEAN,
            "Orders dated within the 90 days up to as_of, both ends in.",
        ),
        _feature("recency", "recent_return_count", "int64", "lines", _ZERO, "Returned lines of recent orders."),
        _feature(
            "recency",
            "recent_return_rate_ratio",
            "float64",
            "ratio",
            _ZERO,
            "Return rate over the lines of recent orders divided by the return rate.",
        ),
        _feature(
            "recency",
            "pace_stability",
            "float64",
            "ratio",
            _MEAN,
            "Smaller divided by larger of the recent (90 days) and the lifelong pace of orders; null for tenure "
            "under 90 days.",
            0,
            1,
        ),
        _feature("monetary", "mean_order_value", "float64", "money", _MEAN, "Sum of line values / orders.", None),
        _feature(
            "monetary",
            "mean_return_value",
            "float64",
            "money",
            _ZERO,
            "Mean over returned lines of line value * units returned / units bought.",
            None,
        ),
        _feature(
            "monetary",
            "high_value_return_affinity",
            "float64",
            "difference",
            _ZERO,
            "Return rate on lines whose unit price is at or above the shop's 75th percentile, minus the return rate "
            "on the other priced lines; null unless the customer has both.",
            -1,
            1,
        ),
        _feature(
            "category",
            "category_concentration",
            "float64",
            "index",
            _MEAN,
            "Herfindahl-Hirschman index: sum of squared category shares of the customer's lines.",
            0,
            1,
        ),
        _feature(
            "category",
            "category_diversity",
            "float64",
            "categories",
            _MEAN,
            "Effective number of categories: exp of the Shannon entropy of the category shares.",
            1,
        ),
        _feature(
            "category", "category_loyalty", "float64", "share", _MEAN, "Share of lines in the top category.", 0, 1
        ),
        _feature(
            "category",
            "high_return_category_affinity",
            "float64",
            "difference",
            _ZERO,
            "Mean over the customer's lines of the return rate of the line's category among all other customers, "
            "minus the shop's return rate; categories nobody else bought are left out.",
            -1,
            1,
        ),
        _feature(
            "adjacency",
            "adjacent_order_count",
            "int64",
            "orders",
            _ZERO,
            "Orders with another order of the customer 1 to 14 days away.",
        ),
        _feature(
            "adjacency",
            "adjacent_return_count",
            "int64",
            "orders",
            _ZERO,
            "Orders with a return that have another such order 1 to 14 days away.",
        ),
        _feature(
            "adjacency",
            "mean_days_between_adjacent_orders",
            "float64",
            "days",
            _MEAN,
            "Mean gap between neighbouring order days, over gaps of 1 to 14 days.",
            1,
            14,
        ),
        _feature(
            "adjacency",
            "mean_days_between_adjacent_returns",
            "float64",
            "days",
            _ZERO,
            "The same over the days of orders with a return.",
            0,
            14,
        ),
        _feature(
            "season",
            "seasonal_order_variation",
            "float64",
            "ratio",
            _MEAN,
            "Coefficient of variation (population) of the customer's lines over the four calendar quarters; only for "
            "a lifetime above 730 days.",
        ),
        _feature(
            "season",
            "seasonal_return_variation",
            "float64",
            "ratio",
            _ZERO,
            "The same over returned lines.",
        ),
        _feature(
            "trend",
            "category_order_trend",
            "float64",
            "correlation",
            _MEAN,
            "Pearson correlation of the customer's lines per (category, month) with the shop's, over the cells in "
            "which the customer bought; null under 6 cells or without variance.",
            -1,
            1,
        ),
        _feature(
            "trend",
            "category_return_trend",
            "float64",
            "correlation",
            _ZERO,
            "The same over returned lines.",
            -1,
            1,
        ),
        Column("total_quantity", "int64", "Units bought.", "units", minimum=1, group="record"),
        Column("total_return_quantity", "int64", "Units sent back.", "units", minimum=0, group="record"),
        Column(
            "first_order_date",
            "timestamp",
            "When the first order was placed.",
            "UTC",
            group="record",
            imputation=_CORE,
        ),
        Column(
            "last_order_date",
            "timestamp",
            "When the last order was placed.",
            "UTC",
            group="record",
            imputation=_CORE,
        ),
        Column(
            "quality_flags",
            "string",
            "';'-joined codes: HIGH_RETURN_RATE (above 0.95), LATE_RETURNS (mean above 60 days), LARGE_ORDERS (over 50 "
            "lines an order), DATES_REPAIRED (a date of a line could not be used).",
            required=True,
            group="record",
        ),
        Column("computed_at", "timestamp", "When the row was computed.", "UTC", required=True, group="record"),
    ),
    never_empty=True,
)

CLUSTERING_FEATURES: tuple[Column, ...] = tuple(
    column for column in CUSTOMER_FEATURES.columns if column.imputation is not None and column.type != "timestamp"
)
"""The 35 numeric features that the segmentation sees, in the order of the contract."""

IMPUTATION_LOG = TableContract(
    "silver",
    "imputation_log",
    "What was imputed: the rule, how many values were missing, how many were filled and with what.",
    "One row per imputed feature",
    ("feature",),
    (
        _text("feature", "Column of silver.customer_features.", required=True),
        _text(
            "rule", "Rule of the feature's contract.", required=True, allowed=tuple(str(rule) for rule in Imputation)
        ),
        _count("nulls_found", "Customers without a value, before anybody was dropped.", "customers"),
        _count("values_filled", "Kept customers whose value was filled.", "customers"),
        Column("fill_value", "float64", "The value that was filled; null where nothing could be."),
    ),
)

DROPPED_CUSTOMERS = TableContract(
    "silver",
    "dropped_customers",
    "Customers without a core metric.",
    "One row per dropped customer",
    ("customer_id",),
    (
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        _text("missing", "Core features that were null, joined by ';'.", required=True),
        _count("line_count", "Order lines of the customer.", "lines"),
    ),
)

IMPUTED_FEATURES = TableContract(
    "silver",
    "imputed_features",
    "Which of a customer's features were imputed.",
    "One row per customer",
    ("customer_id",),
    (
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        _count("imputed_count", "Clustering features of the customer that were imputed.", "features"),
        _text("imputed", "Their names, joined by ';'.", required=True),
    ),
    row_for_each=CUSTOMER_FEATURES.qualified_name,
)

_SCALINGS = ("yeo-johnson", "robust", "standard")

SCALED_FEATURES = TableContract(
    "gold",
    "scaled_features",
    "The 35 clustering features, scaled.",
    "One row per customer",
    ("customer_id",),
    (
        _customer_id("silver.customer_features.customer_id"),
        *(
            Column(
                f"{column.name}_scaled",
                "float64",
                f"{column.name}, scaled.",
                required=True,
                group=column.group,
                source=(f"{CUSTOMER_FEATURES.qualified_name}.{column.name}",),
            )
            for column in CLUSTERING_FEATURES
        ),
        Column(
            "outlier_score",
            "float64",
            "k-distance divided by eps of the density step: above 1 and away from every core customer is an outlier.",
            "ratio",
            required=True,
            minimum=0,
            source=tuple(f"{CUSTOMER_FEATURES.qualified_name}.{column.name}" for column in CLUSTERING_FEATURES),
        ),
        Column(
            "feature_completeness",
            "float64",
            "Share of the 35 features that were not imputed.",
            "share",
            required=True,
            minimum=0,
            maximum=1,
            source=("silver.imputed_features.imputed_count",),
        ),
        _text("scaling_method", "How the features were scaled.", required=True, allowed=_SCALINGS),
        Column(
            "quality_flags",
            "string",
            "As in silver.customer_features.",
            required=True,
            source=("silver.customer_features.quality_flags",),
        ),
        _moment("processed_at", "When the row was computed.", required=True),
    ),
    row_for_each=CUSTOMER_FEATURES.qualified_name,
    never_empty=True,
)

SEGMENT_MODEL = TableContract(
    "gold",
    "segment_model",
    "The fitted models whose files are kept: their parameters, what they were chosen from, how good the result is and "
    "what changed since the fit before. gold.customer_segments names the newest.",
    "One row per fitted model",
    ("model_run_id",),
    (
        _text("model_run_id", "Names the fit; the same input and parameters give the same id.", required=True),
        _moment("fitted_at", "When the model was fitted.", required=True),
        _text("input_version", "Fingerprint of silver that the model was fitted on.", required=True),
        _text("parameters", "Configured parameters, as JSON.", required=True),
        _text("scaling_method", "How the features were scaled.", required=True, allowed=_SCALINGS),
        _text("ignored_features", "Features left out (constant or null for everybody), joined by ';'.", required=True),
        _count("customers", "Customers that were segmented.", "customers"),
        _count("segments", "Segments found, the outliers aside.", "segments"),
        _count("outliers", "Customers that are outliers.", "customers"),
        Column("eps", "float64", "Radius of the density step, in standardised and compressed features.", minimum=0),
        Column("min_samples", "int64", "Neighbours that make a core customer.", "customers", minimum=1),
        Column("shrinkage", "float64", "Shrinkage of the covariance within segments, as used.", "share", True, 0, 1),
        Column(
            "silhouette", "float64", "Over customers in a segment, in the space of the clustering.", "", False, -1, 1
        ),
        Column("silhouette_full", "float64", "The same in the full scaled space.", "", False, -1, 1),
        Column("calinski_harabasz", "float64", "Calinski-Harabasz index, in the space of the clustering.", minimum=0),
        Column("davies_bouldin", "float64", "Davies-Bouldin index, in the space of the clustering.", minimum=0),
        Column("stability", "float64", "Customers' mean Jaccard stability of their segment.", "", False, 0, 1),
        _text("k_distance_curve", "Ascending k-distances that eps comes from, thinned, as JSON.", required=True),
        _text("choices_of_k", "What each number of segments would have given, as JSON.", required=True),
        _text("notes", "What a reader has to know about this fit, in sentences; mostly empty.", required=True),
        _text("model_file", "File of the fitted model, relative to the home folder.", required=True),
        _text("versions", "Versions of what the model was fitted with, as JSON.", required=True),
        _text("segment_ids", "Label that the model gives -> segment id, as JSON.", required=True),
        _count("next_segment_id", "Id that the next new segment gets: above every id ever given."),
        Column(
            "smallest_segment_share",
            "float64",
            "Customers of the smallest segment, divided by all customers.",
            "share",
            True,
            0,
            1,
        ),
        _text("feature_drift", "Feature -> PSI against the fit before, as JSON; null where there is none to compare."),
        Column(
            "largest_feature_drift",
            "float64",
            "Greatest PSI (population stability index) of a feature: under 0.1 little, above 0.25 much has changed.",
            minimum=0,
        ),
        Column("segment_size_drift", "float64", "PSI of the segments' shares against the fit before.", minimum=0),
        Column(
            "kept_segment_share",
            "float64",
            "Customers who kept their segment id since the fit before, of those in both; null where there are none.",
            "share",
            False,
            0,
            1,
        ),
    ),
    never_empty=True,
)

_FIT = "gold.segment_model.model_run_id"
_PROFILED = "gold.segment_profiles.segment_id"

_SCALED = tuple(f"{SCALED_FEATURES.qualified_name}.{column.name}_scaled" for column in CLUSTERING_FEATURES)

CUSTOMER_SEGMENTS = TableContract(
    "gold",
    "customer_segments",
    "Which segment each customer is in, how surely, and where the customer lies on the map.",
    "One row per customer",
    ("customer_id",),
    (
        _customer_id(f"{SCALED_FEATURES.qualified_name}.customer_id"),
        *_made_of(
            _SCALED,
            Column("segment_id", "int64", "Segment; -1 is an outlier.", "", True, -1, references=_PROFILED),
            _text("segment_name", "Name of the segment.", required=True),
            Column(
                "sub_segment_id", "int64", "Segment within the segment, where it has an inner structure.", minimum=0
            ),
            Column("confidence", "float64", "How surely the customer is in the segment.", "share", True, 0, 1),
            Column("map_x", "float64", "Horizontal place on the t-SNE map.", required=True),
            Column("map_y", "float64", "Vertical place on the t-SNE map.", required=True),
        ),
        _text("model_run_id", "The fit that assigned the customer.", required=True, references=_FIT),
        _moment("assigned_at", "When the customer was assigned.", required=True),
    ),
    row_for_each=SCALED_FEATURES.qualified_name,
    never_empty=True,
)


def _features(*names: str) -> tuple[str, ...]:
    return tuple(f"{CUSTOMER_FEATURES.qualified_name}.{name}" for name in names)


def _share(name: str, description: str, source: tuple[str, ...] = ()) -> Column:
    return Column(name, "float64", description, "share", minimum=0, maximum=1, source=source)


_OWN_UNITS = _features(*(column.name for column in CLUSTERING_FEATURES))
_SEGMENT_ID = f"{CUSTOMER_SEGMENTS.qualified_name}.segment_id"
_OF_BEHAVIOUR = (*_OWN_UNITS, _SEGMENT_ID)
_OF_DISTANCES = (*_SCALED, _SEGMENT_ID)
_RETURNED_VALUE = _features("returned_line_count", "mean_return_value")

SEGMENT_PROFILES = TableContract(
    "gold",
    "segment_profiles",
    "What the segments are: size, value, typical behaviour, what sets them apart, what to do and what it could save.",
    "One row per segment, the outliers included",
    ("segment_id",),
    (
        Column(
            "segment_id",
            "int64",
            "Segment; -1 is the outliers.",
            "",
            True,
            -1,
            source=(_SEGMENT_ID,),
            references=_SEGMENT_ID,
        ),
        Column("segment_name", "string", "Name, unique within a run.", required=True, source=_OF_BEHAVIOUR),
        Column(
            "description",
            "string",
            "One sentence derived from the figures.",
            required=True,
            source=_OF_BEHAVIOUR,
        ),
        Column(
            "customers",
            "int64",
            "Customers in the segment.",
            "customers",
            required=True,
            minimum=0,
            source=(_SEGMENT_ID,),
        ),
        _share("share", "Share of the customers.", (_SEGMENT_ID,)),
        _share("order_share", "Share of the orders.", _features("order_count")),
        _share("value_share", "Share of the order value.", _features("order_count", "mean_order_value")),
        _share("returned_value_share", "Share of the returned value.", _RETURNED_VALUE),
        *(
            Column(
                f"{column.name}_{statistic}",
                "float64",
                f"{statistic.capitalize()} of {column.name} over the segment's customers.",
                column.unit,
                group=column.group,
                source=(f"{CUSTOMER_FEATURES.qualified_name}.{column.name}",),
            )
            for column in CLUSTERING_FEATURES
            for statistic in ("mean", "median")
        ),
        Column(
            "distinguishing_features",
            "string",
            "Features that set the segment apart, with the difference of means against all others in standard "
            "deviations of the scaled feature.",
            required=True,
            source=_SCALED,
        ),
        Column(
            "rule",
            "string",
            "Rule in the features' own units that comes nearest to the segment; null where there are too few customers "
            "to make one from.",
            source=_OF_BEHAVIOUR,
        ),
        _share(
            "rule_precision",
            "Share of the customers who follow the rule that are in the segment, cross-validated; null where nobody "
            "follows it.",
            _OF_BEHAVIOUR,
        ),
        _share(
            "rule_recall",
            "Share of the segment's customers who follow the rule, cross-validated.",
            _OF_BEHAVIOUR,
        ),
        Column(
            "silhouette",
            "float64",
            "Mean over its customers, in the full scaled space.",
            "",
            False,
            -1,
            1,
            source=_OF_DISTANCES,
        ),
        Column("stability", "float64", "Mean bootstrap Jaccard similarity (Hennig 2007).", "", False, 0, 1),
        _text("recommended_action", "What to do about the segment.", required=True),
        Column(
            "return_cost",
            "float64",
            "What the segment's returns cost beside the refunds, over the span of the data and with the costs that "
            "the vocabulary assumes; null where order lines have no value.",
            "money",
            minimum=0,
            source=_RETURNED_VALUE,
        ),
        Column(
            "possible_saving",
            "float64",
            "What of it the recommended action could avert: 0 where it is no measure against returns.",
            "money",
            minimum=0,
            source=_RETURNED_VALUE,
        ),
        _text("saving_assumption", "What the saving is reckoned from, in one sentence.", required=True),
    ),
    never_empty=True,
)

CUSTOMER_REASONS = TableContract(
    "gold",
    "customer_reasons",
    "Why each customer is in its segment: how near the next one is and which features decided.",
    "One row per customer",
    ("customer_id",),
    (
        _customer_id(f"{CUSTOMER_SEGMENTS.qualified_name}.customer_id"),
        Column(
            "segment_id",
            "int64",
            "Segment; -1 is an outlier.",
            "",
            True,
            -1,
            source=(_SEGMENT_ID,),
            references=_PROFILED,
        ),
        Column(
            "distance",
            "float64",
            "To the centre of the segment, in the space of the clustering; null for an outlier.",
            minimum=0,
            source=_OF_DISTANCES,
        ),
        Column(
            "next_segment_id",
            "int64",
            "Nearest other segment, for an outlier the nearest; null where there is none.",
            minimum=0,
            source=_OF_DISTANCES,
        ),
        Column("next_distance", "float64", "To the centre of that segment.", minimum=0, source=_OF_DISTANCES),
        *(
            Column(
                f"reason_{number}",
                "string",
                f"The feature that did {most} to put the customer in this segment and not the next, with its value and "
                "the typical one; for an outlier the feature that is out of the ordinary.",
                source=(*_OWN_UNITS, *_OF_DISTANCES),
            )
            for number, most in enumerate(("most", "second most", "third most"), start=1)
        ),
    ),
    row_for_each=CUSTOMER_SEGMENTS.qualified_name,
    never_empty=True,
)

SEGMENT_CHANGES = TableContract(
    "gold",
    "segment_changes",
    "Who changed segments since the fit before, came or left; who stayed is not listed.",
    "One row per customer who moved, joined or left",
    ("customer_id",),
    (
        _customer_id(f"{CUSTOMER_SEGMENTS.qualified_name}.customer_id"),
        _text(
            "change",
            "joined: was not there before; left: is there no more.",
            required=True,
            allowed=("moved", "joined", "left"),
        ),
        Column("from_segment_id", "int64", "Segment before, -1 for an outlier; null for who joined.", minimum=-1),
        _text("from_segment_name", "Name of that segment at the time."),
        Column(
            "to_segment_id",
            "int64",
            "Segment now, -1 for an outlier; null for who left.",
            minimum=-1,
            references=_PROFILED,
            source=(_SEGMENT_ID,),
        ),
        *_made_of(
            (f"{CUSTOMER_SEGMENTS.qualified_name}.segment_name",), _text("to_segment_name", "Name of that segment.")
        ),
        _share("share_of_from", "Customers who went the same way, of those in the segment before."),
        _share("share_of_to", "Customers who came the same way, of those in the segment now."),
        _text("from_model_run_id", "The fit before.", required=True),
        _text("model_run_id", "The fit that gave the segment now.", required=True, references=_FIT),
        _moment("changed_at", "When the change was found.", required=True),
    ),
)

MODEL_ASSIGNMENTS = TableContract(
    "gold",
    "model_assignments",
    "The customers as they are now, in the segments of a model that was fitted before.",
    "One row per customer",
    ("customer_id",),
    (
        _customer_id(f"{CUSTOMER_FEATURES.qualified_name}.customer_id"),
        *_made_of(
            _OWN_UNITS,
            Column("segment_id", "int64", "Segment; -1 is an outlier.", required=True, minimum=-1),
            _text("segment_name", "Name that the segment had when the model was fitted.", required=True),
            Column("confidence", "float64", "How surely the customer is in the segment.", "share", True, 0, 1),
            Column(
                "outlier_score",
                "float64",
                "Distance to the customers that the model was fitted on, divided by its eps.",
                "ratio",
                True,
                0,
            ),
        ),
        _text("model_run_id", "The fit that was applied.", required=True, references=_FIT),
        _moment("assigned_at", "When it was applied.", required=True),
    ),
    row_for_each=CUSTOMER_FEATURES.qualified_name,
    never_empty=True,
)

# What the features of a customer are computed from, and so the segments.
_BEHAVIOUR = tuple(
    f"{ORDER_LINES.qualified_name}.{name}"
    for name in (
        "order_id",
        "customer_id",
        "sku",
        "order_date",
        "quantity",
        "line_value",
        "return_quantity",
        "return_date",
        "category",
    )
)

SEGMENT_HISTORY = TableContract(
    "gold",
    "segment_history",
    "The customers as they were known at the end of past months, in the segments of one model.",
    "One row per customer and month",
    ("as_of", "customer_id"),
    (
        _moment("as_of", "Day that the customers are looked at from: the last one of the month.", required=True),
        _customer_id(f"{ORDER_LINES.qualified_name}.customer_id"),
        *(
            replace(column, source=_BEHAVIOUR if column.source else ())
            for column in MODEL_ASSIGNMENTS.columns
            if column.name not in ("customer_id", "assigned_at")
        ),
        _moment("assigned_at", "When the month was computed.", required=True),
    ),
)


def _measured(
    name: str, description: str, minimum: float | None = None, maximum: float | None = None, unit: str = "share"
) -> Column:
    return Column(name, "float64", description, unit, minimum=minimum, maximum=maximum, source=_BEHAVIOUR)


OUT_OF_TIME_VALIDATION = TableContract(
    "gold",
    "out_of_time_validation",
    "How much of the customers' later behaviour the segments of a past day explain, beside simpler groups of the same "
    "customers.",
    "One row per day to look from, target, scale and method",
    ("as_of", "target", "scale", "method"),
    (
        _moment("as_of", "Day that the groups were made on, from what was known at its end.", required=True),
        Column("horizon_days", "int64", "Days after it whose behaviour counts.", "days", required=True, minimum=1),
        _text(
            "target",
            "What the customers did in those days.",
            required=True,
            allowed=("future_return_rate", "future_return_value", "future_order_value"),
        ),
        _text(
            "scale",
            "On ranks no single customer decides.",
            required=True,
            allowed=("values", "ranks"),
        ),
        _text(
            "method",
            "How customers were grouped. segments: the outliers a group of their own; rfm_cells: quintiles of recency, "
            "frequency and money; rfm_score: their sum; rfm_kmeans: as many groups as there are segments.",
            required=True,
            allowed=("segments", "rfm_cells", "rfm_score", "rfm_kmeans", "return_rate_deciles"),
        ),
        _count("known_customers", "Customers known on the day, who were grouped.", "customers"),
        _count("customers", "Those of them that have the target.", "customers"),
        _count("groups", "Groups with such customers.", "groups"),
        _measured("eta_squared", "Share of the variance of the target that lies between the groups.", 0, 1),
        _measured(
            "epsilon_squared",
            "The same, corrected for the number of groups: 0 on average for groups drawn by lot.",
            maximum=1,
        ),
        _measured("standard_error", "Jackknife standard error of epsilon squared.", 0),
        _measured(
            "lead",
            "How far the segments are ahead: their epsilon squared minus that of the method; null for themselves.",
            unit="difference",
        ),
        _measured("lead_standard_error", "Jackknife standard error of the lead.", 0, unit="difference"),
        _moment("validated_at", "When the row was computed.", required=True),
    ),
)

ALL_TABLES: tuple[TableContract, ...] = (
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    CANCELLATIONS,
    FILE_STATE,
    FORGOTTEN_CUSTOMERS,
    FULFILLED_REQUESTS,
    CUSTOMER_FEATURES,
    IMPUTATION_LOG,
    DROPPED_CUSTOMERS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES,
    CUSTOMER_REASONS,
    SEGMENT_CHANGES,
    MODEL_ASSIGNMENTS,
    SEGMENT_HISTORY,
    OUT_OF_TIME_VALIDATION,
)
"""Every table of the warehouse, in the order of the layers."""

BOOKKEEPING: tuple[TableContract, ...] = (SUPERSEDED_LINES, CANCELLATIONS, FILE_STATE)
"""Tables that the loading of bronze keeps for itself; every other table is an asset, with a check of its contract."""

PUBLISHED: tuple[TableContract, ...] = (
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES,
    CUSTOMER_REASONS,
    SEGMENT_CHANGES,
)
"""What goes to the database of the business, under the names that the tables have here."""

PUBLICATION = TableContract(
    "exports",
    "publication",
    "What was published last; written in the transaction of the tables it speaks of, and in no layer of the warehouse.",
    "One row per published table",
    ("table_name",),
    (
        _text("table_name", "The table beside this one.", required=True),
        _count("row_count", "Rows that were published.", "rows"),
        _text("content_version", "Fingerprint of the rows and of the contract of the table.", required=True),
        _text("data_version", "Data version of the table in Dagster.", required=True),
        _text("model_run_id", "The fit that all of the tables belong to.", required=True),
        _moment("published_at", "When it was published.", required=True),
    ),
)


def _as_in(contract: TableContract, *names: str) -> tuple[Column, ...]:
    """Columns of another table, made of themselves."""
    return tuple(
        replace(contract.column(name), source=(f"{contract.qualified_name}.{name}",), references="") for name in names
    )


_ORDER_VALUE = _features("order_count", "mean_order_value")

CUSTOMER_LIST = TableContract(
    "exports",
    "customer_list",
    "Each customer as the workbook of the report lists them: the segment, how surely and why, and what they did.",
    "One row per customer",
    ("customer_id",),
    (
        *_as_in(CUSTOMER_SEGMENTS, "customer_id", "segment_id", "segment_name", "sub_segment_id", "confidence"),
        *_as_in(SCALED_FEATURES, "outlier_score"),
        *_as_in(CUSTOMER_FEATURES, "order_count"),
        Column(
            "order_value",
            "float64",
            "Value of all orders; null where order lines have no value.",
            "money",
            source=_ORDER_VALUE,
        ),
        Column("returned_value", "float64", "Value of what was sent back.", "money", source=_RETURNED_VALUE),
        Column(
            "retained_value",
            "float64",
            "Order value minus returned value.",
            "money",
            source=(*_ORDER_VALUE, *_RETURNED_VALUE),
        ),
        *_as_in(
            CUSTOMER_FEATURES,
            *("return_rate", "order_return_rate", "returned_line_count", "lines_per_order"),
            *("mean_order_value", "mean_return_value", "mean_days_to_return"),
            *("recent_order_count", "recent_return_count", "tenure_stage", "first_order_date", "last_order_date"),
        ),
        *_as_in(CUSTOMER_REASONS, "reason_1", "reason_2", "reason_3"),
        *_as_in(CUSTOMER_FEATURES, "quality_flags"),
    ),
)
"""What the sheet of the customers holds; no table of the warehouse."""

WORKBOOKS: dict[str, tuple[str, TableContract]] = {
    "silver_workbook": ("silver_customer_features", CUSTOMER_FEATURES),
    "gold_workbook": ("gold_cluster_processed", SCALED_FEATURES),
}
"""Export -> how the names of its files begin, and the table that it holds."""
