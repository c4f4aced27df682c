-- What this session is and has: whose it is, and settings that we or an application rely on. Any user may ask, 10 to 18.
select pg_backend_pid()::text,
       (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text,
       current_setting('lc_monetary'),
       current_setting('TimeZone'),
       extract(timezone from timestamptz '2026-01-15 12:00+00') || ','
           || extract(timezone from timestamptz '2026-07-15 12:00+00'),
       current_setting('default_transaction_read_only'),
       current_setting('row_security'),
       current_setting('search_path'),
       current_setting('statement_timeout'),
       current_setting('idle_in_transaction_session_timeout'),
       coalesce(current_setting('idle_session_timeout', true), '0'), -- 14
       coalesce(current_setting('transaction_timeout', true), '0'),  -- 17
       (select source from pg_settings where name = 'lc_monetary'),
       (select source from pg_settings where name = 'TimeZone')
