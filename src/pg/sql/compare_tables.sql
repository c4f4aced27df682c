-- The tables whose values are compared, with size, estimated rows and the index whose key tells their rows apart: partitioned tables as
-- a whole, so that it does not matter how (or whether) the other side is partitioned. Bytewise sorted by schema and name.
with recursive ours as (
    select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p')
       and not c.relispartition
       and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
       and not exists (select from pg_depend d
                        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), part(root, oid) as (
    select oid, oid from ours
    union all
    select p.root, i.inhrelid
      from part p
      join pg_class c on c.oid = p.oid and c.relkind = 'p'
      join pg_inherits i on i.inhparent = p.oid
), size as (
    select p.root,
           sum(coalesce(pg_table_size(c.oid), 0)) as bytes,
           sum(greatest(c.reltuples, 0)) as rows,
           max(coalesce(pg_relation_size(c.oid), 0)) / current_setting('block_size')::bigint as pages
      from part p
      join pg_class c on c.oid = p.oid
     where c.relkind <> 'p'
     group by p.root
)
select o.oid::text,
       o.nspname,
       o.relname,
       o.relkind::text,
       coalesce(s.bytes, 0)::bigint::text,
       coalesce(s.rows, 0)::text,
       coalesce(s.pages, 0)::text,
       (select array_to_string(array(select (i.indkey::int2[])[g] from generate_series(0, i.n_key - 1) g), ' ')
          from (select i.*, coalesce((to_jsonb(i) ->> 'indnkeyatts')::int, i.indnatts) as n_key from pg_index i) i
         where i.indrelid = o.oid
           and i.indisunique
           and i.indimmediate
           and (i.indisvalid or o.relkind = 'p')
           and i.indpred is null
           and i.indexprs is null
           and not exists (select
                             from generate_series(0, i.n_key - 1) g
                             join pg_attribute a on a.attrelid = o.oid and a.attnum = (i.indkey::int2[])[g]
                            where not a.attnotnull
                               or exists (select from pg_constraint c -- NOT NULL NOT VALID, from 18 on
                                           where current_setting('server_version_num')::int >= 180000 and c.contype = 'n' and c.conrelid = a.attrelid and not c.convalidated and a.attnum = any (c.conkey)))
         order by i.indisprimary desc, i.n_key, i.indexrelid
         limit 1),
       o.relpersistence::text
  from ours o
  left join size s on s.root = o.oid
 order by o.nspname::text collate "C", o.relname::text collate "C"
