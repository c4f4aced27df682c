-- Transactions that have written something and are older than 5 minutes, or prepared and left alone for 10 seconds: a slot's first
-- snapshot waits for each of them.
select 'pid ' || pid || ', ' || coalesce(nullif(application_name, ''), usename, '')
  from pg_stat_activity
 where backend_xid is not null
   and xact_start < clock_timestamp() - interval '5 minutes'
   and pid <> pg_backend_pid()
union all
select 'prepared ' || quote_literal(gid) || ', database ' || quote_ident(database)
  from pg_prepared_xacts
 where prepared < clock_timestamp() - interval '10 seconds'
 order by 1
