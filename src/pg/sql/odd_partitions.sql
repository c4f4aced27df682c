-- Partitions that need a word: name, what it is about, oid. Then one row ('', counts). 10 to 18; DETACH ... CONCURRENTLY came with 14.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       case when to_jsonb(i) ->> 'inhdetachpending' = 'true' then 'detach' else 'foreign' end,
       c.oid::text
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'f')
   and (c.relkind = 'f' or to_jsonb(i) ->> 'inhdetachpending' = 'true')
union all
select '', format('%s partitioned tables, %s partitions, %s inheriting tables',
                  count(*) filter (where c.relkind = 'p'), count(*) filter (where c.relispartition),
                  count(*) filter (where not c.relispartition and exists (select from pg_inherits i where i.inhrelid = c.oid))),
       '0'
  from pg_class c
 where c.relkind in ('r', 'p')
 order by 1
