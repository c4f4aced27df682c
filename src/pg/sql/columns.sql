-- The columns of all tables of tables.sql. `attgenerated` came with 12: before, the name is not found in the inner query and
-- means the outer one.
select q.attrelid::text, q.attname, q.attnum::text, q.atttypid::text, q.type_text, q.attgenerated::text,
       q.is_identity::text, q.attnotnull::text, q.in_identity::text
  from (select ''::"char" as attgenerated) before_12
 cross join lateral (
       select a.attrelid,
              a.attname,
              a.attnum,
              a.atttypid,
              format_type(a.atttypid, a.atttypmod) as type_text,
              attgenerated,
              a.attidentity <> '' as is_identity,
              a.attnotnull,
              c.relreplident = 'f' or coalesce(a.attnum = any (k.indkey), false) as in_identity
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         left join pg_index k on k.indrelid = c.oid and k.indisvalid and k.indimmediate
              and ((c.relreplident = 'd' and k.indisprimary) or (c.relreplident = 'i' and k.indisreplident))
        where c.relkind = 'r'
          and c.relpersistence <> 't'
          and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
          and not exists (select from pg_depend d
                           where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')) q
 order by q.attrelid, q.attnum
