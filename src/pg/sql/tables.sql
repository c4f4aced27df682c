-- Every table whose rows are copied, sorted bytewise by schema and name.
select c.oid::text,
       n.nspname,
       c.relname,
       c.relpersistence::text,
       c.relispartition::text,
       (c.relam in (0, 2))::text, -- heap; 10 and 11 have no other one and say 0
       c.relfilenode::text,
       coalesce(pg_relation_size(c.oid), 0)::text,
       coalesce(case when c.reltoastrelid <> 0 then pg_relation_size(c.reltoastrelid) end, 0)::text,
       c.reltuples::text,
       c.relreplident::text,
       (case c.relreplident
            when 'f' then true
            when 'n' then false
            when 'd' then exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary
                             and i.indisvalid and i.indimmediate)
            else exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident and i.indisvalid)
        end)::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r'
   and c.relpersistence <> 't'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by n.nspname::text collate "C", c.relname::text collate "C"
