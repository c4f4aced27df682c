-- What a restored structure could collide with: relations of all kinds and types by name, which share their names with each other, and
-- routines; with $1 publications, too; and the oid of a relation. Bytewise sorted.
select distinct o.text collate "C", case when o.class = 'pg_class'::regclass then o.oid else 0 end::text
  from (select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.tableoid, c.oid, n.nspname
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and c.relpersistence <> 't'
        union all
        select 'function ' || quote_ident(n.nspname) || '.' || quote_ident(f.proname) || '('
               || pg_get_function_identity_arguments(f.oid) || ')', f.tableoid, f.oid, n.nspname
          from pg_proc f join pg_namespace n on n.oid = f.pronamespace
         where n.nspname not in ('pg_catalog', 'information_schema')
        union all
        select quote_ident(n.nspname) || '.' || quote_ident(t.typname), t.tableoid, t.oid, n.nspname
          from pg_type t join pg_namespace n on n.oid = t.typnamespace
         where t.typtype in ('e', 'd', 'r')
        union all
        select 'publication ' || quote_ident(p.pubname), p.tableoid, p.oid, ''
          from pg_publication p
         where $1::boolean and p.pubname !~ '^pgtide_[0-9a-f]{12}(_inserts|_renamed)?$') as o(text, class, oid, schema)
 where o.schema not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and o.schema not like 'pg\_temp\_%' and o.schema not like 'pg\_toast\_temp\_%'
   and not exists (select from pg_depend d where d.classid = o.class and d.objid = o.oid and d.deptype = 'e')
 order by 1
