-- Since 13. As build_progress.sql, of those that gather statistics: the rest is sorting the samples.
SELECT pid::text, (700 * coalesce(least(1.0, sample_blks_scanned::numeric / nullif(sample_blks_total, 0)), 0))::integer::text
  FROM pg_catalog.pg_stat_progress_analyze WHERE datname = current_database()
