-- Of foreign key $1 (its oid on the source): the referencing table, the referenced one, and a SELECT of rows that break it.
with k as (
    select c.*, (select string_agg(format('f.%I', a.attname), ', ' order by u.place)
                   from unnest(c.conkey) with ordinality u(attnum, place)
                   join pg_attribute a on a.attrelid = c.conrelid and a.attnum = u.attnum) as columns,
           (select string_agg(format('f.%I is not null', a.attname),
                              -- a key of MATCH FULL that is null in part breaks it, too
                              case c.confmatchtype when 'f' then ' or ' else ' and ' end order by u.place)
              from unnest(c.conkey) with ordinality u(attnum, place)
              join pg_attribute a on a.attrelid = c.conrelid and a.attnum = u.attnum) as is_bound,
           (select string_agg(format('p.%I = f.%I', b.attname, a.attname), ' and ' order by u.place)
              from unnest(c.conkey, c.confkey) with ordinality u(from_attnum, to_attnum, place)
              join pg_attribute a on a.attrelid = c.conrelid and a.attnum = u.from_attnum
              join pg_attribute b on b.attrelid = c.confrelid and b.attnum = u.to_attnum) as meets
      from pg_constraint c
     where c.oid = $1::oid and c.contype = 'f'
)
select format('%I.%I', fn.nspname, f.relname),
       format('%I.%I', pn.nspname, p.relname),
       format('SELECT %s FROM %I.%I f WHERE (%s) AND NOT EXISTS (SELECT FROM %I.%I p WHERE %s)', k.columns, fn.nspname,
              f.relname, k.is_bound, pn.nspname, p.relname, k.meets)
  from k
  join pg_class f on f.oid = k.conrelid
  join pg_namespace fn on fn.oid = f.relnamespace
  join pg_class p on p.oid = k.confrelid
  join pg_namespace pn on pn.oid = p.relnamespace
