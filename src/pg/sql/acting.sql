-- What acts on rows that a session which is no replica writes: the keys of all as an array, and one that is not among $1 in words.
select coalesce(array_agg(key), '{}')::text, min(what) filter (where key <> all ($1::text[]))
  from (select 't' || t.oid::text || t.tgenabled::text, 'trigger ' || quote_ident(tgname), tgrelid
          from pg_trigger t where not tgisinternal and tgenabled in ('O', 'A')
        union all
        select 'f' || c.oid::text, 'foreign key ' || quote_ident(conname), conrelid from pg_constraint c where contype = 'f'
        union all
        select 'r' || r.oid::text || r.ev_enabled::text, 'rule ' || quote_ident(rulename), ev_class
          from pg_rewrite r where ev_type <> '1' and ev_enabled in ('O', 'A')) as acts (key, name, relation)
  join pg_class c on c.oid = relation and c.relkind in ('r', 'p')
  join pg_namespace n on n.oid = c.relnamespace,
       lateral (select name || ' of table ' || quote_ident(nspname) || '.' || quote_ident(relname)) as said (what)
