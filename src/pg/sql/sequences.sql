-- Permanent sequences of the database, as those of tables.sql are chosen; with those behind identity columns.
select n.nspname, c.relname, c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'S'
   and c.relpersistence <> 't'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by n.nspname::text collate "C", c.relname::text collate "C"
