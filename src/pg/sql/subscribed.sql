-- Tables of this database that an enabled subscription writes, sorted bytewise as schema.name: name, subscription.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(s.subname)
  from pg_subscription s
  join pg_subscription_rel r on r.srsubid = s.oid
  join pg_class c on c.oid = r.srrelid
  join pg_namespace n on n.oid = c.relnamespace
 where s.subenabled
   and s.subdbid = (select oid from pg_database where datname = current_database())
 order by (quote_ident(n.nspname) || '.' || quote_ident(c.relname)) collate "C"
