-- Configuration tables of extensions, and sequences: what their scripts named to pg_extension_config_dump. Their rows are data of the
-- database, but they are members of an extension and in no list of tables.
select n.nspname, c.relname, coalesce(e.extcondition[i.i], ''), e.extname, c.relkind::text
  from pg_extension e
 cross join generate_subscripts(e.extconfig, 1) as i(i)
  join pg_class c on c.oid = e.extconfig[i.i]
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'S')
 order by e.extname::text collate "C", i.i
