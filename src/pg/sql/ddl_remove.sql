-- What ddl_install.sql made for one task (@: its id). The triggers first: they would tell of the rest. Without right, or on a
-- server that never had them, only what is there is touched.
drop event trigger if exists "!pgtide_@_start";
drop event trigger if exists "!pgtide_@_rewrite";
drop event trigger if exists "!pgtide_@_drop";
drop event trigger if exists "!pgtide_@_end";
drop function if exists pgtide.on_ddl_@();
drop table if exists pgtide.ddl_@;
drop function if exists pgtide.choose_@(text, int4);
drop function if exists pgtide.choose_dropped_@(jsonb);
drop function if exists pgtide.keep_@(oid);
drop table if exists pgtide.chosen_@;
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
