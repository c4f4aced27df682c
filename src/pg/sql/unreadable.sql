-- Tables and sequences that this user cannot read, or not reach because of their schema.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text, c.relkind::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'S')
   and c.relpersistence <> 't'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
   and not (has_schema_privilege(n.oid, 'USAGE')
            and case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'SELECT')
                     else has_table_privilege(c.oid, 'SELECT') end)
 order by 1
