-- Names and oids of the tables whose rows are in a change stream, bytewise sorted.
select (quote_ident(n.nspname) || '.' || quote_ident(c.relname)) collate "C", c.oid::text
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence = 'p'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1
