-- One relation by schema and name, a row a column, as a RELATION message of pgoutput would have it. 16384 is the first oid
-- that is not the system's own; of a partitioned table the leaves are what changes. `attgenerated`: see columns.sql.
select q.oid::text, q.is_carried::text, q.relreplident::text, q.attname, q.atttypid::text, q.atttypmod::text,
       q.in_identity::text, (q.attgenerated::text <> '')::text
  from (select ''::"char" as attgenerated) before_12
 cross join lateral (
       select c.oid,
              c.relkind = 'r' and c.oid >= 16384 as is_carried,
              c.relreplident,
              a.attname,
              a.attnum,
              a.atttypid,
              a.atttypmod,
              attgenerated,
              c.relreplident = 'f' or coalesce(a.attnum = any (k.indkey), false) as in_identity
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         left join pg_index k on k.indrelid = c.oid and k.indisvalid and k.indimmediate
              and ((c.relreplident = 'd' and k.indisprimary) or (c.relreplident = 'i' and k.indisreplident))
        where n.nspname = $1
          and c.relname = $2
          and c.relpersistence = 'p') q
 order by q.attnum
