-- Table level, for one task (@ in names: its id): which DDL concerns what is selected. In pgtide.chosen_@ are the chosen relations, what belongs
-- to them and what they need; the capture (ddl_install.sql) asks the functions below, in the transaction of the DDL. Before the capture is
-- installed; run again on each start.
create schema if not exists pgtide;

create table if not exists pgtide.chosen_@ (
    class oid not null,
    object oid not null,
    primary key (class, object)
);

-- The rules, as patterns of LIKE (ddl_rules.sql): what is made later is chosen by them, too. Of those that match the last one decides.
create table if not exists pgtide.rules_@ (
    place bigint primary key,
    excludes boolean not null,
    schema text not null,
    name text not null
);

-- Whether the rules choose a relation that is new. One that is a part of what is not chosen could not be made without that.
create or replace function pgtide.takes_@(relation pg_catalog.oid) returns pg_catalog.bool language sql stable set search_path = pg_catalog, pg_temp as $pgtide$
    select coalesce((select not r.excludes from pgtide.rules_@ r where n.nspname::text like r.schema and c.relname::text like r.name order by r.place desc limit 1),
                    (select bool_and(excludes) from pgtide.rules_@), false)
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.oid = relation
       and (c.relkind in ('r', 'p')
            or c.relkind = 'S' and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                                                                         and d.refclassid = 'pg_class'::regclass))
       and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pgtide', 'pg_toast')
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
       and not exists (select from pg_inherits i left join pgtide.chosen_@ k on k.class = 'pg_class'::regclass and k.object = i.inhparent
                        where i.inhrelid = c.oid and k.object is null)
$pgtide$;

-- What it needs that is no relation.
create or replace function pgtide.need_@(relation pg_catalog.oid) returns void language sql set search_path = pg_catalog, pg_temp as $pgtide$
    insert into pgtide.chosen_@
    with recursive all_of_it(class, object) as (
        select 'pg_class'::regclass::oid, relation
        union select 'pg_attrdef'::regclass, d.oid from pg_attrdef d where d.adrelid = relation
        union select 'pg_constraint'::regclass, c.oid from pg_constraint c where c.conrelid = relation
    ), needed(class, object) as (
        select class, object from all_of_it
        union
        select d.refclassid, d.refobjid
          from needed n
          join pg_depend d on d.classid = n.class and d.objid = n.object
          left join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
         where d.refobjid >= 16384
           and (c.oid is null or c.relkind = 'c')
    )
    select class, object from needed on conflict do nothing
$pgtide$;

-- What belongs to a relation and is dropped under a name of its own.
create or replace function pgtide.keep_@(relation pg_catalog.oid) returns void language sql set search_path = pg_catalog, pg_temp as $pgtide$
    insert into pgtide.chosen_@
    select 'pg_class'::regclass, relation
    union all select 'pg_class'::regclass, indexrelid from pg_index where indrelid = relation
    union all select 'pg_trigger'::regclass, oid from pg_trigger where tgrelid = relation
    union all select 'pg_policy'::regclass, oid from pg_policy where polrelid = relation
    union all select 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class = relation
    union all select 'pg_statistic_ext'::regclass, oid from pg_statistic_ext where stxrelid = relation
    -- Where publications are carried (ddl_install.sql)
    union select k.class, k.object
      from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid
     cross join lateral (values ('pg_publication_rel'::regclass::oid, r.oid), ('pg_publication'::regclass, p.oid)) k(class, object)
     where r.prrelid = relation
       and p.pubname !~ '^pgtide_[0-9a-f]{12}(_inserts|_renamed)?$'
       and obj_description(to_regclass('pgtide.ddl_@'), 'pg_class') = 'with publications'
        on conflict do nothing
$pgtide$;

-- sql_drop: how much of what is dropped by name is selected. `mixed`: not all of it.
create or replace function pgtide.choose_dropped_@(lost pg_catalog.jsonb) returns pg_catalog.jsonb language sql
    set search_path = pg_catalog, pg_temp as $pgtide$
    select lost || jsonb_build_object('kept', count(k.object), 'mixed', count(k.object) between 1 and count(*) - 1)
      from pg_event_trigger_dropped_objects() d
      left join pgtide.chosen_@ k on k.class = d.classid and k.object = d.objid
     where d.original and not d.is_temporary
$pgtide$;

-- ddl_command_end: of how many objects, of `n`, the statement tells that are selected, or belong to what is.
create or replace function pgtide.choose_@(tag pg_catalog.text, n pg_catalog.int4) returns pg_catalog.int4 language plpgsql
    set search_path = pg_catalog, pg_temp as $pgtide$
declare
    n_chosen int4 := 0;
    relation oid;
    own int8;
    schema record;
    c record;
begin
    if tag like 'DROP %' then
        return n;
    elsif tag in ('GRANT', 'REVOKE') then -- nothing says of what; it wrote their rows in the catalogs
        return case when exists (select from pgtide.chosen_@ k join pg_class r on k.class = 'pg_class'::regclass and r.oid = k.object
                                  where (r.xmin::text::int8 - txid_current() & 4294967295) < 2147483648)
                      or exists (select from pgtide.chosen_@ k join pg_attribute a on k.class = 'pg_class'::regclass and a.attrelid = k.object
                                  where (a.xmin::text::int8 - txid_current() & 4294967295) < 2147483648 and a.attacl is not null)
                    then n else 0 end;
    end if;
    for c in select classid, objid, command_tag, in_extension from pg_event_trigger_ddl_commands() loop
        relation := case c.classid
                    when 'pg_class'::regclass then coalesce((select indrelid from pg_index where indexrelid = c.objid),
                        -- a sequence that belongs to a table; a partition
                        (select d.refobjid from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
                          where d.classid = 'pg_class'::regclass and d.objid = c.objid and d.refclassid = 'pg_class'::regclass
                            and d.deptype in ('a', 'i') and d.refobjsubid > 0),
                        (select i.inhparent from pg_inherits i join pg_class p on p.oid = i.inhrelid and p.relispartition where i.inhrelid = c.objid),
                        c.objid)
                    when 'pg_trigger'::regclass then (select tgrelid from pg_trigger where oid = c.objid)
                    when 'pg_policy'::regclass then (select polrelid from pg_policy where oid = c.objid)
                    when 'pg_rewrite'::regclass then (select ev_class from pg_rewrite where oid = c.objid)
                    when 'pg_statistic_ext'::regclass then (select stxrelid from pg_statistic_ext where oid = c.objid)
                    when 'pg_constraint'::regclass then (select conrelid from pg_constraint where oid = c.objid)
                    when 'pg_publication_rel'::regclass then (select prrelid from pg_publication_rel where oid = c.objid)
                    when 'pg_publication'::regclass then
                        (select r.prrelid from pg_publication_rel r join pgtide.chosen_@ k on k.class = 'pg_class'::regclass and k.object = r.prrelid
                          where r.prpubid = c.objid limit 1)
                    end;
        if relation = c.objid and c.command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SEQUENCE') and not c.in_extension
           and pgtide.takes_@(relation) then
            -- A schema that nothing chosen was in is not on the target
            select n.oid, n.nspname, pg_get_userbyid(n.nspowner) as owner into schema from pg_class r join pg_namespace n on n.oid = r.relnamespace
             where r.oid = relation and n.oid >= 16384 and tag <> 'CREATE SCHEMA'
               and not exists (select from pgtide.chosen_@ k where k.class = 'pg_namespace'::regclass and k.object = n.oid);
            if found then
                insert into pgtide.ddl_@ (phase, tag, role, objects, statement, sql, search_path, standard_conforming_strings, datestyle, intervalstyle, timezone)
                values ('end', 'CREATE SCHEMA', '', quote_ident(schema.nspname), 'CREATE SCHEMA ' || quote_ident(schema.nspname),
                        format('DO $pgtide_do$ BEGIN IF to_regnamespace(%L) IS NULL THEN CREATE SCHEMA %I; '
                               'IF EXISTS (SELECT FROM pg_roles WHERE rolname = %L AND pg_has_role(current_user, oid, ''MEMBER'')) THEN ALTER SCHEMA %I OWNER TO %I; END IF; END IF; END $pgtide_do$',
                               quote_ident(schema.nspname), schema.nspname, schema.owner, schema.nspname, schema.owner),
                        'pg_catalog', 'on', 'ISO', 'postgres', 'UTC')
                returning id into own;
                delete from pgtide.ddl_@ where id = own;
            end if;
            perform pgtide.keep_@(relation), pgtide.need_@(relation);
        end if;
        if exists (select from pgtide.chosen_@ k where k.class = c.classid and k.object = c.objid)
           or exists (select from pgtide.chosen_@ k where k.class = 'pg_class'::regclass and k.object = relation) then
            n_chosen := n_chosen + 1;
            if c.classid = 'pg_class'::regclass and not exists (select from pg_index where indexrelid = c.objid) then
                perform pgtide.keep_@(c.objid);
            end if;
            perform pgtide.keep_@(relation) where relation is not null;
        end if;
    end loop;
    return n_chosen;
end
$pgtide$;
