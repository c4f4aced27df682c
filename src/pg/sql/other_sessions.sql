-- Other people's sessions in this database, those that did something last first. Statements of other users are hidden from
-- who is not in pg_read_all_stats.
select a.pid::text,
       coalesce(nullif(a.application_name, ''), 'no name'),
       coalesce(a.usename::text, 'unknown'),
       coalesce(a.client_addr::text, 'local'),
       coalesce(a.state, 'hidden'),
       coalesce(extract(epoch from clock_timestamp() - a.query_start)::bigint::text, ''),
       regexp_replace(regexp_replace(coalesce(a.query, ''), '\s+', ' ', 'g'), '^(.{60}).+$', '\1...'),
       (a.backend_xid is not null)::text
  from pg_stat_activity a
 where a.datname = current_database()
   and a.pid <> pg_backend_pid()
   and a.backend_type = 'client backend'
   and a.application_name not like 'pgtide %'
 order by a.query_start desc nulls last, a.pid
