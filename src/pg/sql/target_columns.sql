-- The columns of table $1 with their types, domains resolved to what is below them. The equality operator is that of the type's
-- default btree class; enums and ranges have theirs by polymorphic classes, varchar by that of text. attgenerated is new in 12.
WITH RECURSIVE layer AS (
    SELECT a.attnum, t.oid, t.typtype, t.typbasetype
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = $1::oid
       AND a.attnum > 0
       AND NOT a.attisdropped
    UNION ALL
    SELECT l.attnum, t.oid, t.typtype, t.typbasetype
      FROM layer l
      JOIN pg_catalog.pg_type t ON t.oid = l.typbasetype
     WHERE l.typtype = 'd'
)
SELECT a.attname::text,
       format_type(a.atttypid, -1),
       b.oid::text,
       b.typarray::text,
       b.typdelim::text,
       b.typtype::text,
       (b.typelem <> 0 AND b.typlen = -1)::text,
       (coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '')::text,
       a.attidentity::text,
       a.attnotnull::text,
       (a.attcollation = t.typcollation)::text,
       CASE
           WHEN b.typtype IN ('e', 'r', 'm') OR b.oid = 'pg_catalog.varchar'::regtype THEN '='
           ELSE (SELECT CASE WHEN s.nspname = 'pg_catalog' THEN o.oprname::text
                             ELSE format('OPERATOR(%I.%s)', s.nspname, o.oprname) END
                   FROM pg_catalog.pg_opclass oc
                   JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
                   JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily
                                             AND ao.amoplefttype = oc.opcintype
                                             AND ao.amoprighttype = oc.opcintype
                                             AND ao.amopstrategy = 3
                   JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr
                   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
                  WHERE oc.opcdefault
                    AND oc.opcintype = b.oid
                  LIMIT 1)
       END
  FROM layer l
  JOIN pg_catalog.pg_type b ON b.oid = l.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = $1::oid AND a.attnum = l.attnum
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE l.typtype <> 'd'
 ORDER BY a.attnum
