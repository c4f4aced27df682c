-- Since 13. As build_progress_12.sql, with those that gather statistics: the rest is sorting the samples.
SELECT pid::text,
       (CASE WHEN phase LIKE '%scanning table%' THEN 500 * scanned
             WHEN phase LIKE '%sorting%' THEN 500
             WHEN phase LIKE '%loading tuples%' THEN 700 + 300 * loaded
             WHEN phase LIKE 'building index%' THEN 950 * greatest(scanned, loaded)
             ELSE 0 END)::integer::text
  FROM (SELECT pid, phase, coalesce(least(1.0, blocks_done::numeric / nullif(blocks_total, 0)), 0) AS scanned,
               coalesce(least(1.0, tuples_done::numeric / nullif(tuples_total, 0)), 0) AS loaded
          FROM pg_catalog.pg_stat_progress_create_index WHERE datname = current_database()) now
 UNION ALL
SELECT pid::text, (700 * coalesce(least(1.0, sample_blks_scanned::numeric / nullif(sample_blks_total, 0)), 0))::integer::text
  FROM pg_catalog.pg_stat_progress_analyze WHERE datname = current_database()
