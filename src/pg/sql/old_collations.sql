-- Collations that columns use and whose order has changed since it was recorded: indexes made before may be out of order. 10 to 18.
select distinct quote_ident(n.nspname) || '.' || quote_ident(c.collname)
  from pg_collation c
  join pg_namespace n on n.oid = c.collnamespace
  join pg_attribute a on a.attcollation = c.oid
 where a.attrelid >= 16384
   and c.collversion is not null
   and c.collversion is distinct from pg_collation_actual_version(c.oid)
 order by 1
