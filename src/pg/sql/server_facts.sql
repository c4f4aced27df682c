-- One row about the server and its database. Any user may ask, 10 to 18; providers of locales came with 15 and were renamed in 17.
select current_setting('server_version_num'),
       current_setting('server_version'),
       (select system_identifier::text from pg_control_system()),
       case when pg_is_in_recovery()
            then (select timeline_id::text from pg_control_checkpoint())
            -- the checkpoint's timeline is old until the first checkpoint after a promotion; the WAL's is not
            else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint::text end,
       d.oid::text,
       d.datname,
       pg_encoding_to_char(d.encoding),
       d.datcollate,
       d.datctype,
       pg_is_in_recovery()::text,
       current_setting('wal_level'),
       current_setting('max_replication_slots'),
       (select count(*)::text from pg_replication_slots),
       current_setting('max_wal_senders'),
       (select count(*)::text from pg_stat_replication),
       current_setting('max_connections'),
       current_setting('max_locks_per_transaction'),
       current_user::text,
       r.rolsuper::text,
       (r.rolsuper or r.rolreplication)::text,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
  from pg_database d, pg_roles r
 where d.datname = current_database() and r.rolname = current_user
