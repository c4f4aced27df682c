-- Foreign keys that refer to table $1, or to a partition of it, and do something to the rows that refer when one is deleted. NULL: none.
with recursive member as (
    select $1::oid as oid
    union
    select i.inhrelid from member m join pg_inherits i on i.inhparent = m.oid join pg_class c on c.oid = i.inhrelid and c.relispartition
)
select string_agg(distinct format('foreign key "%s" of table "%s"', k.conname, k.conrelid::regclass), ', ')
  from member m
  join pg_constraint k on k.confrelid = m.oid and k.contype = 'f' and k.confdeltype in ('c', 'n', 'd')
