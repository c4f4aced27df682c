-- Constraints of these tables ($1: names), or that they inherit from tables above them, which are not valid: rows that were there before need not pass them, rows
-- that are copied would have to. Not those that are inherited: they come and go with the one above. As (table, name, definition, comment). 10 to 18.
with recursive up(oid) as (
    select to_regclass(t.name)::oid from unnest($1::text[]) t(name) where to_regclass(t.name) is not null
    union
    select i.inhparent from up join pg_inherits i on i.inhrelid = up.oid
)
select format('%I.%I', n.nspname, r.relname), quote_ident(c.conname), pg_get_constraintdef(c.oid), quote_literal(obj_description(c.oid, 'pg_constraint'))
  from pg_constraint c
  join up on up.oid = c.conrelid
  join pg_class r on r.oid = c.conrelid
  join pg_namespace n on n.oid = r.relnamespace
 where c.contype in ('c', 'n') and not c.convalidated and c.coninhcount = 0
   and to_jsonb(c) ->> 'conenforced' is distinct from 'false'
 order by c.oid
