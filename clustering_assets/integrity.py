"""What has to hold between tables: identities of accounting, each a query for the sentences that say where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clustering_assets.contracts import (
    CANCELLATIONS,
    CLUSTERING_FEATURES,
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    ORDER_LINES,
    OUT_OF_TIME_VALIDATION,
    REJECTED_ROWS,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    Imputation,
    TableContract,
)
from clustering_assets.warehouse import has_table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_EXACT = 1e-9
"""What sums of shares may differ by: they are floats."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Something that holds between a table and others.

    Parameters
    ----------
    name
        Name of the check, which is also what holds.
    table
        Table that it is said of.
    meaning
        What holds, in one sentence.
    reads
        The other tables; while one of them is not there, nothing can fail.
    query
        One row per fault, with one column: a sentence without any personal data.
    """

    name: str
    table: TableContract
    meaning: str
    reads: tuple[TableContract, ...]
    query: str

    def faults(self, backend: Backend) -> list[str]:
        """Return a sentence for each fault; empty when the identity holds."""
        if not all(has_table(backend, contract) for contract in (self.table, *self.reads)):
            return []
        return [str(sentence) for (sentence,) in backend.con.execute(self.query).fetchall()]


def _counted(rows: str, what: str) -> str:
    return f"select count(*) || ' {what}' from {rows} having count(*) > 0"


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


EVERY_ROW_ACCOUNTED_FOR = Identity(
    "every_row_accounted_for",
    SOURCE_FILES,
    "Rows read = rows kept + rejected + superseded + merged, for every file, counted in the tables.",
    (ORDER_LINES, REJECTED_ROWS, SUPERSEDED_LINES, CANCELLATIONS),
    f"""
    with claimed as (
        select source_file, sum(rows_read) as read, sum(rows_kept) as kept, sum(rows_rejected) as rejected,
               sum(rows_superseded) as superseded, sum(rows_merged) as merged
        from {SOURCE_FILES.qualified_name} group by 1),
    found as (
        select source_file, count(*) filter (place = 'kept') as kept, count(*) filter (place = 'rejected') as rejected,
               count(*) filter (place = 'superseded') as superseded, count(*) filter (place = 'merged') as merged
        from (select source_file, 'kept' as place from {ORDER_LINES.qualified_name}
              union all select source_file, 'rejected' from {REJECTED_ROWS.qualified_name}
              union all select source_file, 'superseded' from {SUPERSEDED_LINES.qualified_name}
              union all select source_file, if(outcome = 'superseded', outcome, 'merged')
                        from {CANCELLATIONS.qualified_name} where outcome <> 'unmatched')
        group by 1)
    select concat(source_file, ': ', coalesce(claimed.read::varchar, 'no'), ' rows read, ', claimed.kept, ' kept (',
                  coalesce(found.kept, 0), ' found), ', claimed.rejected, ' rejected (', coalesce(found.rejected, 0),
                  ' found), ', claimed.superseded, ' superseded, ', claimed.merged, ' merged')
    from claimed full join found using (source_file)
    where claimed.read is null
       or claimed.read <> claimed.kept + claimed.rejected + claimed.superseded + claimed.merged
       or claimed.kept <> coalesce(found.kept, 0) or claimed.rejected <> coalesce(found.rejected, 0)
       or claimed.superseded < coalesce(found.superseded, 0) or claimed.merged < coalesce(found.merged, 0)
    order by source_file""",
)

_SILVER = (
    Identity(
        "every_customer_kept_or_dropped",
        CUSTOMER_FEATURES,
        "No customer of bronze.order_lines is lost: as many were kept or dropped as have orders that count.",
        (ORDER_LINES, DROPPED_CUSTOMERS),
        # By number, since silver may know the customers by pseudonyms. Who has only orders after the day to look from
        # is in neither table; that day is not known here, but it is not before the latest order that was counted.
        f"""
        with bought as (
            select bool_or(order_date is null or order_date <= latest) as counts
            from {ORDER_LINES.qualified_name},
                 (select max(last_order_date) as latest from {CUSTOMER_FEATURES.qualified_name})
            group by customer_id),
        had as (
            select customer_id, count(*) as times
            from (select customer_id from {CUSTOMER_FEATURES.qualified_name}
                  union all select customer_id from {DROPPED_CUSTOMERS.qualified_name})
            group by 1)
        select concat('bronze.order_lines has ', least, ' to ', most, ' customers whose orders count, and ', there,
                      ' were kept or dropped')
        from (select count(*) filter (counts) as least, count(*) as most from bought),
             (select count(*) as there from had)
        where there not between least and most
        union all
        {_counted("had where times > 1", "customers were both kept and dropped")}""",
    ),
    Identity(
        "every_fill_logged",
        IMPUTATION_LOG,
        "Every feature with a rule is in the log, with as many values filled as silver.imputed_features names.",
        (IMPUTED_FEATURES,),
        f"""
        with filled as (
            select feature, count(*) as customers
            from (select unnest(string_split(imputed, ';')) as feature from {IMPUTED_FEATURES.qualified_name})
            where feature <> '' group by 1),
        ruled as (select unnest([{_listed([c.name for c in CUSTOMER_FEATURES.columns if c.imputation])}]) as feature)
        select concat(feature, ': the log says ', coalesce(values_filled::varchar, 'nothing'), ' filled, and ',
                      coalesce(customers, 0), ' were')
        from ruled full join {IMPUTATION_LOG.qualified_name} using (feature) full join filled using (feature)
        where values_filled is distinct from coalesce(customers, 0) order by feature""",
    ),
    Identity(
        "core_metrics_missing",
        DROPPED_CUSTOMERS,
        "Every dropped customer lacks a core feature, and nothing else is named.",
        (),
        f"""
        with named as (select string_split(missing, ';') as features from {DROPPED_CUSTOMERS.qualified_name}),
        core as (select [{
            _listed([c.name for c in CUSTOMER_FEATURES.columns if c.imputation is Imputation.CORE])
        }] as features)
        {
            _counted(
                "named, core where not list_has_all(core.features, named.features)", "customers lack no core feature"
            )
        }
        """,
    ),
    Identity(
        "count_is_of_the_names",
        IMPUTED_FEATURES,
        "The number of a customer's imputed features is the number of their names.",
        (),
        _counted(
            f"{IMPUTED_FEATURES.qualified_name} where imputed_count <> "
            "len(list_filter(string_split(imputed, ';'), lambda name: name <> ''))",
            "customers have another number of imputed features than names",
        ),
    ),
)

_SIZES = f"(select segment_id, count(*) as found from {CUSTOMER_SEGMENTS.qualified_name} group by 1)"
_GOLD = (
    Identity(
        "completeness_follows_imputation",
        SCALED_FEATURES,
        f"feature_completeness = 1 - imputed features / {len(CLUSTERING_FEATURES)}.",
        (IMPUTED_FEATURES,),
        _counted(
            f"{SCALED_FEATURES.qualified_name} join {IMPUTED_FEATURES.qualified_name} using (customer_id) "
            f"where abs(1 - imputed_count / {len(CLUSTERING_FEATURES)} - feature_completeness) > {_EXACT}",
            "customers have another completeness than their imputed features give",
        ),
    ),
    Identity(
        "figures_are_of_the_tables",
        SEGMENT_MODEL,
        "The model of the customers' segments counts as many customers, segments and outliers as there are.",
        (CUSTOMER_SEGMENTS,),
        f"""
        with found as (
            select model_run_id, count(*) as customers, count(*) filter (segment_id = -1) as outliers,
                   count(distinct segment_id) filter (segment_id >= 0) as segments
            from {CUSTOMER_SEGMENTS.qualified_name} group by 1)
        select concat(what, ': the model counts ', counted, ', and there are ', there)
        from (select unnest(['customers', 'outliers', 'segments']) as what,
                     unnest([model.customers, model.outliers, model.segments]) as counted,
                     unnest([found.customers, found.outliers, found.segments]) as there
              from found join {SEGMENT_MODEL.qualified_name} as model using (model_run_id))
        where counted <> there
        union all
        select concat('the customers were put into their segments by ', count(*), ' fits')
        from found having count(*) > 1""",
    ),
    Identity(
        "names_are_of_the_profiles",
        CUSTOMER_SEGMENTS,
        "Every customer's segment has the name that its profile gives it.",
        (SEGMENT_PROFILES,),
        _counted(
            f"{CUSTOMER_SEGMENTS.qualified_name} as c join {SEGMENT_PROFILES.qualified_name} as p using (segment_id) "
            "where c.segment_name <> p.segment_name",
            "customers are in a segment of another name than its profile has",
        ),
    ),
    Identity(
        "sizes_add_up",
        SEGMENT_PROFILES,
        "The profiles count the customers of gold.customer_segments, their shares add up to 1, no two have one name.",
        (CUSTOMER_SEGMENTS,),
        f"""
        select concat('segment ', segment_id, ': ', customers, ' customers (', coalesce(found, 0), ' found), share ',
                      share)
        from {SEGMENT_PROFILES.qualified_name} left join {_SIZES} using (segment_id)
        where customers <> coalesce(found, 0)
           or abs(share - customers / (select count(*) from {CUSTOMER_SEGMENTS.qualified_name})) > {_EXACT}
        union all
        select concat('the shares add up to ', sum(share)) from {SEGMENT_PROFILES.qualified_name}
        having abs(sum(share) - 1) > {_EXACT}
        union all
        select concat('the name ', segment_name, ' is given ', count(*), ' times')
        from {SEGMENT_PROFILES.qualified_name} group by segment_name having count(*) > 1""",
    ),
    Identity(
        "reasons_are_of_the_segment",
        CUSTOMER_REASONS,
        "Every customer's reasons are of the customer's segment, whose distance only an outlier lacks; reasons are "
        "given from the first on, and only where another segment is next or the customer is an outlier.",
        (CUSTOMER_SEGMENTS,),
        f"""
        {
            _counted(
                f"{CUSTOMER_REASONS.qualified_name} as r join {CUSTOMER_SEGMENTS.qualified_name} as s "
                "using (customer_id) where r.segment_id <> s.segment_id",
                "customers have reasons for another segment than theirs",
            )
        }
        union all
        {
            _counted(
                f"{CUSTOMER_REASONS.qualified_name} where (distance is null) <> (segment_id = -1) "
                "or (next_segment_id is null) <> (next_distance is null) or next_segment_id = segment_id",
                "customers have distances that do not belong to two segments",
            )
        }
        union all
        {
            _counted(
                f"{CUSTOMER_REASONS.qualified_name} where (reason_1 is null and reason_2 is not null) "
                "or (reason_2 is null and reason_3 is not null) "
                "or (reason_1 is not null and next_segment_id is null and segment_id <> -1)",
                "customers have a reason without the one before it, or with no other segment to compare with",
            )
        }""",
    ),
    Identity(
        "changes_lead_to_the_segments",
        SEGMENT_CHANGES,
        "Who moved or joined is in the segment that the change leads to, and who left is in none.",
        (CUSTOMER_SEGMENTS,),
        _counted(
            f"{SEGMENT_CHANGES.qualified_name} as c left join {CUSTOMER_SEGMENTS.qualified_name} as s "
            "using (customer_id) where c.to_segment_id is distinct from s.segment_id "
            "or (c.to_segment_id is null) <> (c.change = 'left') "
            "or (c.from_segment_id is null) <> (c.change = 'joined') or c.from_segment_id = c.to_segment_id",
            "changes do not lead to the segment that the customer is in",
        ),
    ),
    Identity(
        "methods_judged_on_the_same_customers",
        OUT_OF_TIME_VALIDATION,
        "On each day, for each target and scale, the segments and what they are compared with have the same customers.",
        (),
        f"""
        select concat(strftime(as_of, '%Y-%m-%d'), ', ', target, ', ', scale, ': the methods differ in their customers')
        from {OUT_OF_TIME_VALIDATION.qualified_name} group by as_of, target, scale
        having count(distinct customers) > 1 or count(distinct known_customers) > 1
            or max(customers - known_customers) > 0 or count(*) filter (method = 'segments') <> 1
        order by as_of, target, scale""",
    ),
)

IDENTITIES = (EVERY_ROW_ACCOUNTED_FOR, *_SILVER, *_GOLD)
"""All of them, in the order of the layers."""
