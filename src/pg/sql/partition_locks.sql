-- The most locks that one statement on a partitioned table takes: its whole tree with all indexes.
with recursive tree(root, oid) as (
    select oid, oid from pg_class where relkind = 'p' and not relispartition
    union all
    select t.root, i.inhrelid from tree t join pg_inherits i on i.inhparent = t.oid
)
select coalesce(max(n), 0)::text
  from (select count(*) + coalesce(sum(x.n), 0) as n
          from tree t
          left join (select indrelid, count(*) as n from pg_index group by indrelid) x on x.indrelid = t.oid
         group by t.root) s
