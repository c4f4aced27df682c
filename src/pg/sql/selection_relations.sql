-- Every relation that can be chosen, by oid: with the parent of a partition, and for a sequence the table that it belongs to and
-- whether it is behind an identity column. Whether a partitioned table has a primary key, and a table can identify its rows.
select c.oid::text,
       n.nspname,
       c.relname,
       c.relkind::text,
       coalesce(i.inhparent, 0)::text,
       coalesce(d.refobjid, 0)::text,
       coalesce(d.deptype = 'i', false)::text,
       exists (select from pg_index x where x.indrelid = c.oid and x.indisprimary and x.indisvalid and x.indimmediate)::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
  left join pg_depend d on c.relkind = 'S' and d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                       and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
 where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
   and c.relpersistence <> 't'
   and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgtide')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
 order by c.oid
