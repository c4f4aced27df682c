-- What the change stream does not carry: kind, name.
select 'large objects', count(*) || case when count(*) = 1 then ' object' else ' objects' end, '0'
  from pg_largeobject_metadata
having count(*) > 0
union all
select case c.relkind when 'm' then 'materialized view' else 'unlogged table' end,
       format('%I.%I', n.nspname, c.relname), c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where (c.relkind = 'm' or c.relkind = 'r' and c.relpersistence = 'u')
   and n.nspname not in ('pg_catalog', 'information_schema', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2
