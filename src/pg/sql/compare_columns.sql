-- The columns of the tables of compare_tables.sql. Whether a type is, or holds somewhere inside, what servers before 12 print
-- otherwise than later ones: floating point numbers and geometry. `attgenerated` came with 12: before, the outer name is meant.
with recursive ours as (
    select c.oid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p')
       and not c.relispartition
       and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
       and not exists (select from pg_depend d
                        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), inside(type, oid) as (
    select distinct a.atttypid, a.atttypid
      from ours o
      join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
    union
    select i.type, part.oid
      from inside i
      join pg_type t on t.oid = i.oid
      join lateral (select case when t.typlen = -1 then t.typelem else 0 end
                    union all select t.typbasetype
                    union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
                    union all select a.atttypid from pg_attribute a
                               where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0
                                 and not a.attisdropped) part(oid) on part.oid <> 0
), floating(type) as (
    select distinct type
      from inside
     where oid in ('float4'::regtype, 'float8'::regtype, 'point'::regtype, 'line'::regtype, 'lseg'::regtype,
                   'box'::regtype, 'path'::regtype, 'polygon'::regtype, 'circle'::regtype)
)
select q.attrelid::text, q.attname, q.attnum::text, q.atttypid::text, q.type_text, (q.attgenerated <> '')::text,
       q.is_identity::text, (q.atttypid in (select type from floating))::text, q.send, q.attnotnull::text
  from (select ''::"char" as attgenerated) before_12
 cross join lateral (
       select a.attrelid, a.attname, a.attnum, a.atttypid, format_type(a.atttypid, a.atttypmod) as type_text,
              attgenerated, a.attidentity <> '' as is_identity,
              a.attnotnull and not exists (select from pg_constraint c -- NOT NULL NOT VALID, from 18 on
                                            where current_setting('server_version_num')::int >= 180000 and c.contype = 'n' and c.conrelid = a.attrelid and not c.convalidated
                                              and a.attnum = any (c.conkey)) as attnotnull,
              case when t.typtype = 'b' and (t.oid < 16384 or t.typlen = -1 and t.typelem between 1 and 16383)
                        or t.typtype = 'd' and t.typbasetype < 16384
                        or t.typtype = 'r' and exists (select from pg_range r where r.rngtypid = t.oid and r.rngsubtype < 16384)
                        or t.typtype = 'c' and not exists (select from pg_attribute f -- a row's form names the types in it
                                                            where f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
                                                              and f.atttypid >= 10000)
                   then t.typsend::regproc::text end as send
         from ours o
         join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
         join pg_type t on t.oid = a.atttypid) q
 order by q.attrelid, q.attnum
