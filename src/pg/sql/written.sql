-- Of the source, sorted bytewise, named as unwritable.sql does: schemas and tables that are to be written on the target, and the oid of
-- the relation because of which.
select o.name, o.oid::text
  from (select 'schema ' || quote_ident(n.nspname), c.oid
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and c.relpersistence <> 't'
           and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
        union all
        select 'table ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and c.relpersistence <> 't'
           and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')) as o(name, oid)
 order by o.name collate "C"
