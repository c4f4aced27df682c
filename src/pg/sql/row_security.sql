-- Tables whose policies would filter what this user reads; our sessions get an error instead.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relrowsecurity
   and c.relkind in ('r', 'p')
   and row_security_active(c.oid)
   and n.nspname not in ('pg_catalog', 'information_schema')
 order by 1
