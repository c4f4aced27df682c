-- Since 12. How far the sessions of this database are that build an index: thousandths of what it takes. Where a phase has no counts, as a sort,
-- where it begins. A B-tree spends about half of its time on reading the table, a fifth on sorting, the rest on writing.
SELECT pid::text,
       (CASE WHEN phase LIKE '%scanning table%' THEN 500 * scanned
             WHEN phase LIKE '%sorting%' THEN 500
             WHEN phase LIKE '%loading tuples%' THEN 700 + 300 * loaded
             WHEN phase LIKE 'building index%' THEN 950 * greatest(scanned, loaded)
             ELSE 0 END)::integer::text
  FROM (SELECT pid, phase, coalesce(least(1.0, blocks_done::numeric / nullif(blocks_total, 0)), 0) AS scanned,
               coalesce(least(1.0, tuples_done::numeric / nullif(tuples_total, 0)), 0) AS loaded
          FROM pg_catalog.pg_stat_progress_create_index WHERE datname = current_database()) now
