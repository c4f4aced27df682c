-- The index behind the violated constraint $2 in schema $1: its table, its predicate, and a row for each of its columns with its
-- expression and equality operator; then all columns that the index depends on, a row each. indnullsnotdistinct is new in 15.
WITH found AS (
    SELECT i.indexrelid, i.indrelid, i.indkey, i.indclass, i.indpred, i.indisexclusion,
           coalesce((to_jsonb(i) ->> 'indnkeyatts')::int, i.indnatts::int) AS n_columns,
           coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') AS nulls_not_distinct
      FROM pg_catalog.pg_class x
      JOIN pg_catalog.pg_namespace xn ON xn.oid = x.relnamespace
      JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
     WHERE xn.nspname = $1
       AND x.relname = $2
)
SELECT 'expression' AS kind,
       format('%I.%I', n.nspname, c.relname) AS on_table,
       f.indisexclusion::text,
       f.nulls_not_distinct,
       pg_get_expr(f.indpred, f.indrelid),
       pg_get_indexdef(f.indexrelid, k.n, false) AS text,
       (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
          FROM pg_catalog.pg_opclass oc
          JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily
                                    AND ao.amoplefttype = oc.opcintype
                                    AND ao.amoprighttype = oc.opcintype
                                    AND ao.amopstrategy = 3
          JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr
          JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
         WHERE oc.oid = f.indclass[k.n - 1]
         LIMIT 1)
  FROM found f
  JOIN pg_catalog.pg_class c ON c.oid = f.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL generate_series(1, f.n_columns) AS k(n)
UNION ALL
SELECT 'column', NULL, NULL, NULL, NULL, a.attname::text, NULL
  FROM found f
  JOIN pg_catalog.pg_attribute a ON a.attrelid = f.indrelid AND a.attnum > 0
 WHERE a.attnum = ANY (f.indkey)
    OR EXISTS (SELECT
                 FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::regclass
                  AND d.objid = f.indexrelid
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass
                  AND d.refobjid = f.indrelid
                  AND d.refobjsubid = a.attnum)
