"""The table contracts, as data.

Every table of the warehouse is described here once: column names, types, units, allowed ranges, the group a feature
belongs to and the rule by which a missing value is imputed. Schema checks, imputation, the column metadata in Dagster,
the header rows of the workbooks and the data dictionary all read these contracts; nothing else repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class TableContract:
    """A table: where it lives, what one row stands for, its key and its columns in order."""

    layer: str
    name: str
    description: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

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


def _text(name: str, description: str, *, required: bool = False, personal: bool = False) -> Column:
    return Column(name, "string", description, required=required, personal=personal)


def _count(name: str, description: str, unit: str = "", *, required: bool = True) -> Column:
    return Column(name, "int64", description, unit=unit, required=required, minimum=0)


def _moment(name: str, description: str, *, required: bool = False) -> Column:
    return Column(name, "timestamp", description, unit="UTC", required=required)


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
    _text("source_file", "File the line came from, relative to the source folder.", required=True),
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
)

REJECTED_ROWS = TableContract(
    "bronze",
    "rejected_rows",
    "Rows that could not be kept, with the reason and the text as it stood in the source.",
    "One row per refused row of a source file",
    ("source_file", "source_row"),
    (
        _text("source_file", "File the row came from, relative to the source folder.", required=True),
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
        _text("status", "loaded, duplicate, unusable or ignored.", required=True),
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
        _text("source_file", "File the row came from, relative to the source folder.", required=True),
        Column("source_row", "int64", "Row of that file or sheet, the first row being 1.", required=True, minimum=1),
        _text("order_id", "Number of the cancellation.", required=True, personal=True),
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        _text("sku", "Stock-keeping unit.", required=True),
        _moment("cancelled_at", "When it was booked."),
        Column("quantity", "int64", "Units cancelled.", "units", required=True, minimum=1),
        Column("matched_quantity", "int64", "Units for which a purchase was found.", "units", required=True, minimum=0),
        _text("outcome", "matched, partly matched, unmatched, or superseded by a later file.", required=True),
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
        _text("rule", "core, zero or mean.", required=True),
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
)

SCALED_FEATURES = TableContract(
    "gold",
    "scaled_features",
    "The 35 clustering features, scaled.",
    "One row per customer",
    ("customer_id",),
    (
        Column(
            "customer_id",
            "string",
            "Canonical customer id.",
            required=True,
            personal=True,
            source=("silver.customer_features.customer_id",),
        ),
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
        _text("scaling_method", "yeo-johnson, robust or standard.", required=True),
        Column(
            "quality_flags",
            "string",
            "As in silver.customer_features.",
            required=True,
            source=("silver.customer_features.quality_flags",),
        ),
        _moment("processed_at", "When the row was computed.", required=True),
    ),
)

SEGMENT_MODEL = TableContract(
    "gold",
    "segment_model",
    "The fitted segmentation: its parameters, what they were chosen from and how good the result is.",
    "One row per fitted model",
    ("model_run_id",),
    (
        _text("model_run_id", "Names the fit; the same input and parameters give the same id.", required=True),
        _moment("fitted_at", "When the model was fitted.", required=True),
        _text("input_version", "Fingerprint of silver that the model was fitted on.", required=True),
        _text("parameters", "Configured parameters, as JSON.", required=True),
        _text("scaling_method", "yeo-johnson, robust or standard.", required=True),
        _text("ignored_features", "Features left out (constant or null for everybody), joined by ';'.", required=True),
        _count("customers", "Customers that were segmented.", "customers"),
        _count("segments", "Segments found, the outliers aside.", "segments"),
        _count("outliers", "Customers that are outliers.", "customers"),
        Column("eps", "float64", "Radius of the density step, in standardised and compressed features.", minimum=0),
        Column("min_samples", "int64", "Neighbours that make a core customer.", "customers", minimum=1),
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
    ),
)

CUSTOMER_SEGMENTS = TableContract(
    "gold",
    "customer_segments",
    "Which segment each customer is in, how surely, and where the customer lies on the map.",
    "One row per customer",
    ("customer_id",),
    (
        _text("customer_id", "Canonical customer id.", required=True, personal=True),
        Column("segment_id", "int64", "Segment; -1 is an outlier.", required=True, minimum=-1),
        _text("segment_name", "Name of the segment.", required=True),
        Column("sub_segment_id", "int64", "Segment within the segment, where it has an inner structure.", minimum=0),
        Column("confidence", "float64", "How surely the customer is in the segment.", "share", True, 0, 1),
        Column("map_x", "float64", "Horizontal place on the t-SNE map.", required=True),
        Column("map_y", "float64", "Vertical place on the t-SNE map.", required=True),
        _text("model_run_id", "The fit that assigned the customer.", required=True),
        _moment("assigned_at", "When the customer was assigned.", required=True),
    ),
)


def _share(name: str, description: str) -> Column:
    return Column(name, "float64", description, "share", minimum=0, maximum=1)


SEGMENT_PROFILES = TableContract(
    "gold",
    "segment_profiles",
    "What the segments are: size, value, typical behaviour, what sets them apart and what to do.",
    "One row per segment, the outliers included",
    ("segment_id",),
    (
        Column("segment_id", "int64", "Segment; -1 is the outliers.", required=True, minimum=-1),
        _text("segment_name", "Name, unique within a run.", required=True),
        _text("description", "One sentence derived from the figures.", required=True),
        _count("customers", "Customers in the segment.", "customers"),
        _share("share", "Share of the customers."),
        _share("order_share", "Share of the orders."),
        _share("value_share", "Share of the order value."),
        _share("returned_value_share", "Share of the returned value."),
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
        _text(
            "distinguishing_features",
            "Features that set the segment apart, with the difference of means against all others in standard "
            "deviations of the scaled feature.",
            required=True,
        ),
        Column("silhouette", "float64", "Mean over its customers, in the full scaled space.", "", False, -1, 1),
        Column("stability", "float64", "Mean bootstrap Jaccard similarity (Hennig 2007).", "", False, 0, 1),
        _text("recommended_action", "What to do about the segment.", required=True),
    ),
)

ALL_TABLES: tuple[TableContract, ...] = (
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    CANCELLATIONS,
    FILE_STATE,
    CUSTOMER_FEATURES,
    IMPUTATION_LOG,
    DROPPED_CUSTOMERS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES,
)
"""Every table of the warehouse, in the order of the layers."""

BOOKKEEPING: tuple[TableContract, ...] = (SUPERSEDED_LINES, CANCELLATIONS, FILE_STATE)
"""Tables that the loading of bronze keeps for itself; every other table is an asset, with a check of its contract."""
