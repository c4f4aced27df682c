-- Tables that publication $1 does not hold in whole: not at all, or (15+) with a row filter or only some columns.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
       || case when p.tablename is null then ''
               when p.is_filtered then ' (row filter)'
               else ' (some columns)' end,
       c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join (select t.schemaname, t.tablename,
                    coalesce(to_jsonb(t) ->> 'rowfilter', '') <> '' as is_filtered,
                    jsonb_array_length(coalesce(to_jsonb(t) -> 'attnames', '[]')) as n_columns
               from pg_publication_tables t
              where t.pubname = $1) p on p.schemaname = n.nspname and p.tablename = c.relname
 where c.relkind = 'r'
   and c.relpersistence = 'p'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
   and (p.tablename is null or p.is_filtered
        or (p.n_columns > 0 and p.n_columns < (select count(*) from pg_attribute a
                                                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                                                  and coalesce(to_jsonb(a) ->> 'attgenerated', '') = '')))
 order by 1
