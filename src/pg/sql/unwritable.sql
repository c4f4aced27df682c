-- Of the target, sorted bytewise: schemas in which this user may not create, tables in which it may not write.
select o.name
  from (select 'schema ' || quote_ident(nspname) from pg_namespace where not has_schema_privilege(oid, 'CREATE')
        union all
        select 'table ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r'
           and not (has_table_privilege(c.oid, 'SELECT') and has_table_privilege(c.oid, 'INSERT')
                    and has_table_privilege(c.oid, 'UPDATE') and has_table_privilege(c.oid, 'DELETE')
                    and has_table_privilege(c.oid, 'TRUNCATE'))) as o(name)
 order by o.name collate "C"
