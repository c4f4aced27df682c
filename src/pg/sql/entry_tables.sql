-- The table that each entry of the structure belongs to. $1, $2: catalog and oid of the entries, as pg_dump names them.
with wanted as (
    select w.class, w.oid from unnest($1::oid[], $2::oid[]) as w(class, oid)
), found as (
    select w.class, w.oid, i.indrelid as relid, i.indexrelid
      from wanted w join pg_index i on w.class = 'pg_class'::regclass and i.indexrelid = w.oid
    union all
    -- conindid of a foreign key is the index of the other table
    select w.class, w.oid, c.conrelid, case when c.contype in ('p', 'u', 'x') then c.conindid else 0 end
      from wanted w join pg_constraint c on w.class = 'pg_constraint'::regclass and c.oid = w.oid and c.conrelid <> 0
    union all
    select w.class, w.oid, t.tgrelid, 0
      from wanted w join pg_trigger t on w.class = 'pg_trigger'::regclass and t.oid = w.oid
    union all
    select w.class, w.oid, r.ev_class, 0
      from wanted w join pg_rewrite r on w.class = 'pg_rewrite'::regclass and r.oid = w.oid
    union all
    select w.class, w.oid, p.polrelid, 0
      from wanted w join pg_policy p on w.class = 'pg_policy'::regclass and p.oid = w.oid
    union all
    select w.class, w.oid, s.stxrelid, 0
      from wanted w join pg_statistic_ext s on w.class = 'pg_statistic_ext'::regclass and s.oid = w.oid
)
select f.class::text,
       f.oid::text,
       f.relid::text,
       (t.relkind = 'p')::text,
       coalesce(i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null,
                false)::text,
       coalesce(i.indisprimary or i.indisreplident, false)::text,
       coalesce(pg_relation_size(i.indexrelid), 0)::text
  from found f
  join pg_class t on t.oid = f.relid
  left join pg_index i on i.indexrelid = f.indexrelid
