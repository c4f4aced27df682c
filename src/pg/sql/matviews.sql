-- Populated materialized views, each after those that it reads, directly or through views: what reads another one reads all that that one reads, and it.
with recursive reads(reader, read) as (
    select r.ev_class, d.refobjid
      from pg_rewrite r
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                      and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
    union
    select a.reader, d.refobjid
      from reads a
      join pg_rewrite r on r.ev_class = a.read
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                      and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
)
select n.nspname, c.relname, c.oid::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'm'
   and c.relispopulated
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by (select count(distinct m.oid) from reads a join pg_class m on m.oid = a.read and m.relkind = 'm' where a.reader = c.oid),
          n.nspname::text collate "C", c.relname::text collate "C"
