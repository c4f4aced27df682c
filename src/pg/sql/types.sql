-- The types of all columns of user tables and, again and again, what they are made of.
with recursive used(oid) as (
    select distinct a.atttypid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relkind = 'r'
       and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
    union
    select part.oid
      from used u
      join pg_type t on t.oid = u.oid
      join lateral (select case when t.typlen = -1 then t.typelem else 0 end
                    union all select t.typbasetype
                    union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
                    union all select a.atttypid from pg_attribute a
                               where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0
                                 and not a.attisdropped) part(oid) on part.oid <> 0
)
select t.oid::text,
       n.nspname,
       t.typname,
       t.typtype::text,
       (t.typsend <> 0)::text,
       (t.typreceive <> 0)::text,
       case when t.typlen = -1 then t.typelem else 0 end::text,
       coalesce(nullif(t.typbasetype, 0), r.rngsubtype, 0)::text,
       e.extname,
       e.extversion,
       (select string_agg(a.atttypid::text, ' ' order by a.attnum)
          from pg_attribute a
         where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
  from used u
  join pg_type t on t.oid = u.oid
  join pg_namespace n on n.oid = t.typnamespace
  left join pg_range r on r.rngtypid = t.oid
  left join pg_depend d on d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  left join pg_extension e on e.oid = d.refobjid
 order by t.oid
