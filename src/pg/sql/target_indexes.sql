-- Unique indexes and exclusion constraints of table $1, a row for each of their columns, the primary key first. Not plain are those
-- that are deferrable, partial, over expressions or not valid: no key for finding rows. indnkeyatts is new in 11.
SELECT i.indexrelid::text,
       (i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL)::text,
       a.attname::text,
       (SELECT CASE WHEN s.nspname = 'pg_catalog' THEN o.oprname::text
                    ELSE format('OPERATOR(%I.%s)', s.nspname, o.oprname) END
          FROM pg_catalog.pg_opclass oc
          JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily
                                    AND ao.amopmethod = (SELECT m.oid FROM pg_catalog.pg_am m WHERE m.amname = 'btree')
                                    AND ao.amoplefttype = oc.opcintype
                                    AND ao.amoprighttype = oc.opcintype
                                    AND ao.amopstrategy = 3
          JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr
          JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
         WHERE oc.oid = i.indclass[k.n - 1]
         LIMIT 1),
       i.indisexclusion::text
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL generate_series(1, coalesce((to_jsonb(i) ->> 'indnkeyatts')::int, i.indnatts::int)) AS k(n)
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum > 0
 WHERE i.indrelid = $1::oid
   AND (i.indisunique OR i.indisexclusion)
   AND i.indislive
 ORDER BY i.indisprimary DESC, i.indexrelid, k.n
