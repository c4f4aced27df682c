-- Tables that this user cannot put into a publication.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r'
   and c.relpersistence = 'p'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
   and not pg_has_role(c.relowner, 'USAGE')
 order by 1
