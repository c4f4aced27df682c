-- Tables, their columns, and the labels of enums: key, key of the table, name, definition (model/structure.h).
select 't ' || c.oid, '', format('table "%s.%s"', n.nspname, c.relname),
       case c.relkind when 'p' then 'a table partitioned by ' || pg_get_partkeydef(c.oid) else 'a table' end
           || case c.relpersistence when 'u' then ', unlogged' else '' end
           || coalesce(', below ' || (select string_agg(format('%s.%s', pn.nspname, p.relname), ', ' order by i.inhseqno)
                                        from pg_inherits i join pg_class p on p.oid = i.inhparent
                                        join pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = c.oid), '')
           || coalesce(' ' || pg_get_expr(c.relpartbound, c.oid), '')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname not in ('pg_catalog', 'information_schema', 'pgtide')
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
union all
select format('c %s %s', c.oid, lpad(a.attnum::text, 4, '0')), 't ' || c.oid, format('column "%s"', a.attname), format_type(a.atttypid, a.atttypmod)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname not in ('pg_catalog', 'information_schema', 'pgtide')
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
union all
select 'e ' || t.oid, '', format('type "%s.%s"', n.nspname, t.typname),
       'enum (' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid) || ')'
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
 where t.typtype = 'e' and n.nspname not in ('pg_catalog', 'information_schema')
   and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
