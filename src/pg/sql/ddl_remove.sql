-- What ddl_disarm.sql leaves of ddl_install.sql for one task (@: its id). A transaction that has run DDL and is still open holds the
-- table: the caller tries again. The functions go last, so that a session that has read of a trigger just before finds its function.
-- On a server that never had them, only what is there is touched.
set local lock_timeout = '500ms';
drop table if exists pgtide.ddl_@;
drop function if exists pgtide.on_ddl_@();
drop function if exists pgtide.choose_@(text, int4);
drop function if exists pgtide.choose_dropped_@(jsonb);
drop function if exists pgtide.keep_@(oid);
drop function if exists pgtide.need_@(oid);
drop function if exists pgtide.takes_@(oid);
drop table if exists pgtide.chosen_@;
drop table if exists pgtide.rules_@;
do $pgtide$
begin
    -- 'pgtide'::regnamespace would fail where the schema is gone, whatever stands before it.
    if to_regnamespace('pgtide') is not null
       and not exists (select from pg_catalog.pg_class where relnamespace = to_regnamespace('pgtide'))
       and not exists (select from pg_catalog.pg_proc where pronamespace = to_regnamespace('pgtide')) then
        drop schema pgtide;
    end if;
end
$pgtide$;
