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
select '', format('%s partitioned table%s, %s partition%s, %s inheriting table%s',
                  n_partitioned, case when n_partitioned <> 1 then 's' end, n_partitions, case when n_partitions <> 1 then 's' end,
                  n_inheriting, case when n_inheriting <> 1 then 's' end),
       '0'
  from (select count(*) filter (where c.relkind = 'p') as n_partitioned,
               count(*) filter (where c.relispartition) as n_partitions,
               count(*) filter (where not c.relispartition and exists (select from pg_inherits i where i.inhrelid = c.oid)) as n_inheriting
          from pg_class c
         where c.relkind in ('r', 'p')) as counts
 order by 1
