-- Deferrable unique and exclusion constraints of table $1 and of its partitions, a row for each of their columns. A column is given as the
-- expression that the index has and, where it is one of the table's, by its name. indnullsnotdistinct is new in 15, indnkeyatts in 11. A
-- constraint that a partition has from its parent is checked with that.
WITH RECURSIVE member AS (
    SELECT $1::oid AS oid, true AS is_first
    UNION ALL
    SELECT i.inhrelid, false
      FROM member m
      JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
      JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT con.oid::text,
       con.conname::text,
       format('%s%I.%I', CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END, n.nspname, c.relname),
       pg_get_expr(i.indpred, i.indrelid),
       pg_get_indexdef(i.indexrelid, k.n, false),
       a.attname::text,
       coalesce((SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
                   FROM pg_catalog.pg_operator o
                   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
                  WHERE o.oid = con.conexclop[k.n]),
                (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
                   FROM pg_catalog.pg_opclass oc
                   JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily
                                             AND ao.amoplefttype = oc.opcintype
                                             AND ao.amoprighttype = oc.opcintype
                                             AND ao.amopstrategy = 3
                   JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr
                   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
                  WHERE oc.oid = i.indclass[k.n - 1]
                  LIMIT 1)),
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false'),
       (SELECT array_agg(m.oid)::text FROM member m)
  FROM member m
  JOIN pg_catalog.pg_class c ON c.oid = m.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_constraint con ON con.conrelid = m.oid AND con.contype IN ('p', 'u', 'x') AND con.condeferrable
  JOIN pg_catalog.pg_index i ON i.indexrelid = con.conindid
 CROSS JOIN LATERAL generate_series(1, coalesce((to_jsonb(i) ->> 'indnkeyatts')::int, i.indnatts::int)) AS k(n)
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum > 0
 WHERE m.is_first OR con.coninhcount = 0
 ORDER BY con.oid, k.n
