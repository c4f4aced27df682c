-- Tables and sequences that this user cannot read, or not reach because of their schema: name, oid, kind, the GRANT without its grantee or '',
-- the schema if it is one that may not be used or ''.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       c.oid::text,
       c.relkind::text,
       case when case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'SELECT') else has_table_privilege(c.oid, 'SELECT') end
            then ''
            else 'SELECT ON ' || case c.relkind when 'S' then 'SEQUENCE ' else 'TABLE ' end
                 || quote_ident(n.nspname) || '.' || quote_ident(c.relname) end,
       case when has_schema_privilege(n.oid, 'USAGE') then '' else quote_ident(n.nspname) end,
       quote_ident(n.nspname)
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
 order by quote_ident(n.nspname), 1
