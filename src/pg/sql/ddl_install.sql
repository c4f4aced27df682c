-- The capture of DDL on the source, for one task (@ in names: its id). Run again on each start: nothing here may harm what exists.
-- A row is inserted in the transaction of the DDL, so that the change stream has it at its place, and deleted at once, so that the
-- table stays empty. A table and not a logical message: anybody may write messages, and what comes here is run on the target.
create schema if not exists pgtide;

create table if not exists pgtide.ddl_@ (
    id bigint generated always as identity primary key,
    phase text not null,  -- start: rows of a table that is being made from a query come next; end: the DDL was run
    tag text not null,
    role text not null,
    objects text not null,
    statement text,       -- what was run: all of the client's string, or the statement inside a function
    nth text,             -- which statement of this tag in the string; with #: which of all statements in it; with = and without a statement:
                          -- in the string that the row before it in the transaction had, or named in this way
    sql text,             -- rebuilt from the catalog at this moment; empty: nothing to do
    problem text,         -- why nobody can do the same on the target
    search_path text not null,
    standard_conforming_strings text not null,
    datestyle text not null,
    intervalstyle text not null,
    timezone text not null
);

create or replace function pgtide.on_ddl_@() returns event_trigger language plpgsql security definer set lc_messages = 'C' as $pgtide$
declare
    -- Until the search path is ours everything is qualified. The caller's goes to the target and is put back at the end.
    path pg_catalog.text := pg_catalog.current_setting('search_path');
    actor pg_catalog.text := pg_catalog.current_setting('role');
    stack pg_catalog.text;
    said pg_catalog.text;
    part pg_catalog.text[];
    which pg_catalog.int4;
    nth pg_catalog.text;
    told pg_catalog.text := '';
    was_told pg_catalog.bool;
    extensions pg_catalog.int4;
    made pg_catalog.text;
    made_of pg_catalog.text;
    trouble pg_catalog.text;
    objects pg_catalog.text := '';
    seen pg_catalog.jsonb;
    lost pg_catalog.jsonb;
    rewritten pg_catalog.jsonb;
    again pg_catalog.text[] := '{}';
    refill pg_catalog.text[] := '{}';
    n_ours pg_catalog.int4 := 0;
    publications pg_catalog.bool; -- are carried: the table's comment says so
    of_pgtide pg_catalog.text := '(^| in publication )"?pgtide_[0-9a-f]{12}(_inserts|_renamed)?"?$'; -- its own
    own pg_catalog.int8;
    last_cid pg_catalog.int8;
    first_class pg_catalog.oid;
    first_object pg_catalog.oid;
    c pg_catalog.record;
begin
    get diagnostics stack = pg_context;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if actor = 'none' then
        actor := session_user;
    end if;
    publications := coalesce(obj_description(to_regclass('pgtide.ddl_@'), 'pg_class') = 'with publications', false);
    extensions := coalesce(nullif(current_setting('pgtide.extensions_@', true), ''), '0');
    last_cid := coalesce(nullif(current_setting('pgtide.cid_@', true), ''), '-1');

    if tg_event = 'sql_drop' then
        select jsonb_build_object('kept', count(*) filter (where original and not is_temporary
                                                             and schema_name is distinct from 'pgtide'
                                                             and not (object_type = 'schema' and object_name = 'pgtide')),
                                  'temporary', count(*) filter (where is_temporary and original),
                                  'names', string_agg(object_identity, E'\n') filter (where original and not is_temporary))
          into lost from pg_event_trigger_dropped_objects()
         where object_type not like 'publication%' or publications and object_identity !~ of_pgtide;
        if to_regclass('pgtide.chosen_@') is not null then
            lost := pgtide.choose_dropped_@(lost); -- table level: ddl_selection.sql
        end if;
        perform set_config('pgtide.dropped_@', lost::text, true), set_config('search_path', path, true);
        return;
    elsif tg_event = 'table_rewrite' then
        -- Bits of the reason, 1: unlogged or logged; 2: a new column whose default each row computes; 4: a column's new type
        perform set_config('pgtide.rewritten_@',
                           (coalesce(nullif(current_setting('pgtide.rewritten_@', true), ''), '{}')::jsonb || jsonb_build_object(
                                pg_event_trigger_table_rewrite_oid()::oid, pg_event_trigger_table_rewrite_reason()))::text, true),
                set_config('search_path', path, true);
        return;
    elsif tg_event = 'ddl_command_start' and tg_tag like '% EXTENSION' then
        perform set_config('pgtide.extensions_@', (extensions + 1)::text, true), set_config('search_path', path, true);
        return;
    elsif extensions > 0 then
        -- What a script runs, the target's own script runs, too, down to ALTER EXTENSION.
        if tg_tag like '% EXTENSION' then
            extensions := extensions - 1;
            perform set_config('pgtide.extensions_@', extensions::text, true);
        end if;
        if extensions > 0 or tg_tag not like '% EXTENSION' then
            perform set_config('pgtide.dropped_@', '', true), set_config('search_path', path, true);
            return;
        end if;
    end if;

    -- What was said: by the client, or by the innermost statement of a function.
    stack := case when position(E'\n' in stack) = 0 then '' else substr(stack, position(E'\n' in stack) + 1) end;
    if stack = '' then
        said := current_query();
    elsif stack like 'SQL statement "%' then
        said := substring(stack from E'^SQL statement "(.*?)"\n(?:PL/|SQL )');
    elsif stack like 'SQL function "%' then
        part := regexp_match(stack, E'^SQL function "([^\\n]*)" statement ([0-9]+)');
        select min(prosrc), '#' || part[2] into said, nth
          from pg_proc p join pg_language l on l.oid = p.prolang
         where proname = part[1] and l.lanname = 'sql' having count(*) = 1;
    end if;

    if tg_event = 'ddl_command_end' then
        lost := nullif(current_setting('pgtide.dropped_@', true), '')::jsonb;
        rewritten := coalesce(nullif(current_setting('pgtide.rewritten_@', true), ''), '{}');
        perform set_config('pgtide.dropped_@', '', true), set_config('pgtide.rewritten_@', '', true);
        if stack = '' then
            seen := nullif(current_setting('pgtide.seen_@', true), '')::jsonb;
            if seen ->> '' is distinct from statement_timestamp()::text then
                seen := jsonb_build_object('', statement_timestamp()::text);
            end if;
            -- Not for the transaction alone: the string may hold several. What is rolled back is not counted (ddl_statement.c).
            which := coalesce((seen ->> tg_tag)::int, 0) + 1;
            nth := which;
            perform set_config('pgtide.seen_@', (seen || jsonb_build_object(tg_tag, which))::text, false);
        end if;
        for c in select * from pg_event_trigger_ddl_commands() loop
            continue when c.in_extension or c.schema_name in ('pg_temp', 'pgtide')
                or c.object_type = 'schema' and c.object_identity = 'pgtide' or c.schema_name like E'pg\\_temp\\_%'
                or c.object_type like 'publication%' and (not publications or c.object_identity ~ of_pgtide) or c.object_type = 'subscription';
            n_ours := n_ours + 1;
            objects := objects || case when objects = '' then '' else E'\n' end || coalesce(c.object_identity, c.object_type);
            first_class := coalesce(first_class, c.classid);
            first_object := coalesce(first_object, c.objid);
        end loop;
        if tg_tag like 'DROP %' then
            n_ours := (lost ->> 'kept')::int;
            objects := coalesce(lost ->> 'names', '');
            if n_ours > 0 and (lost ->> 'temporary')::int > 0 then
                trouble := 'it drops temporary objects together with others';
            end if;
        end if;
        if n_ours > 0 and to_regclass('pgtide.chosen_@') is not null then
            n_ours := pgtide.choose_@(tg_tag, n_ours);
            if n_ours > 0 and (lost ->> 'mixed')::bool and tg_tag like 'DROP %' then
                trouble := 'it drops selected objects together with others';
            end if;
        end if;
        if tg_tag = 'ALTER PUBLICATION' then -- what it takes out of one is told as dropped, and as nothing else
            n_ours := n_ours + coalesce((lost ->> 'kept')::int, 0);
            objects := concat_ws(E'\n', nullif(objects, ''), lost ->> 'names');
        end if;
        if tg_tag in ('CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW') and n_ours > 0 then
            select case r.relkind
                   when 'm' then format('CREATE MATERIALIZED VIEW %s (%s)%s AS %s WITH NO DATA', objects,
                                        string_agg(quote_ident(attname), ', ' order by attnum), options,
                                        rtrim(pg_get_viewdef(r.oid), '; '))
                   else format('CREATE %sTABLE %s (%s)%s', case r.relpersistence when 'u' then 'UNLOGGED ' else '' end, objects,
                               string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod) ||
                                          case when attcollation not in (0, typcollation)
                                               then ' COLLATE ' || collation_name else '' end,
                                          ', ' order by attnum), options) end
              into made
              from (select oid, relkind, relpersistence, coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', '') as options
                      from pg_class where oid = first_object) r -- before 12 "*" has no oid
              left join (select a.*, t.typcollation,
                                (select quote_ident(nspname) || '.' || quote_ident(collname) from pg_collation k
                                   join pg_namespace n on n.oid = collnamespace where k.oid = attcollation) as collation_name
                           from pg_attribute a join pg_type t on t.oid = atttypid where attnum > 0 and not attisdropped) a
                on a.attrelid = r.oid
             group by r.oid, r.relkind, r.relpersistence, r.options;
        elsif stack <> '' and tg_tag ~ '^(CREATE|ALTER) ' and said !~* E'owner\\s+to' and first_class = 'pg_class'::regclass then
            -- Inside a function that runs as its owner nothing says as whom, but for whose it is.
            select pg_get_userbyid(relowner) into actor from pg_class where oid = first_object;
        end if;
        if tg_tag in ('CREATE TABLE AS', 'SELECT INTO') and n_ours = 0 then
            made := ''; -- somebody waits for the end of what began
        end if;
        -- In both of the next queries "offset 0" says: by their indexes, whatever the planner thinks of how many are concerned. The plan is
        -- that of the session's first statement; joined, all of pg_class, pg_attribute and pg_index were read for each.
        -- Each server would compute other values: they are written again, where that is little, and so come as rows. Columns that are
        -- new were written by our transaction, after what was told last, and have none behind them that was not: of older ones a
        -- rewrite takes the value that the catalog had for rows before them. What computes a column's new type is in the statement alone.
        for c in with recursive altered (oid) as (
                        select objid from pg_event_trigger_ddl_commands() where tg_tag = 'ALTER TABLE' and classid = 'pg_class'::regclass
                        union select inhrelid from pg_inherits join altered on inhparent = altered.oid),
                      written as (
                        select a.*, to_jsonb(a) ->> 'attgenerated' as generated,
                               coalesce((select adbin::text from pg_attrdef where adrelid = a.attrelid and adnum = a.attnum),
                                        (select typdefaultbin::text from pg_type where pg_type.oid = a.atttypid)) as expression,
                               (a.row_xmin::text::int8 - txid_current() & 4294967295) < 2147483648 and a.row_cmin::text::int8 > last_cid as is_written
                          from altered cross join lateral (select pg_attribute.*, pg_attribute.xmin as row_xmin, pg_attribute.cmin as row_cmin
                                                             from pg_attribute where attrelid = altered.oid and attnum > 0 offset 0) a),
                      news as (
                        select n.attrelid from written n
                         where n.is_written and not n.attisdropped and coalesce(n.generated, '') = ''
                           and not exists (select from written o where o.attrelid = n.attrelid and o.attnum > n.attnum and not o.is_written)
                           and (n.attidentity <> '' or n.expression ~ 'SQLVALUEFUNCTION|COERCEVIAIO|NEXTVALUEEXPR'
                                or exists (select from regexp_matches(n.expression, ':(?:op)?funcid ([0-9]+)', 'g') as m
                                             join pg_proc on pg_proc.oid = m[1]::oid where provolatile <> 'i'))
                        union select oid from altered
                         where (rewritten ->> oid::text)::int & 4 <> 0 and said ~* E'\\musing\\M'
                           and (said ~* E'\\m(current_[a-z]+|localtime|localtimestamp|session_user|user)\\M'
                                or exists (select from regexp_matches(lower(said), E'([[:alnum:]_$]+)"?\\s*\\(', 'g') as m
                                             join pg_proc on proname = m[1]
                                            where provolatile = 'v' or proname in ('now', 'transaction_timestamp', 'statement_timestamp',
                                                                                   'current_setting', 'txid_current'))))
                 select r.oid::regclass as name, pg_relation_size(r.oid) as size, min(quote_ident(k.attname)) as key_column,
                        coalesce(bool_or((k.xmin::text::int8 - txid_current() & 4294967295) < 2147483648
                                         and k.cmin::text::int8 > last_cid), true) as has_new_key
                   from (select distinct attrelid from news) as n join pg_class r on r.oid = n.attrelid
                   left join pg_index i on i.indrelid = r.oid and case r.relreplident when 'd' then i.indisprimary
                                                                                      when 'i' then i.indisreplident end
                   left join pg_attribute k on k.attrelid = r.oid and k.attnum = any (i.indkey)
                  where r.relpersistence = 'p' and r.relkind = 'r'
                  group by r.oid loop
            if c.size > 0 and (c.has_new_key or c.size > 67108864) then
                trouble := format('it gives the rows of table %s values that each server computes differently', c.name);
            elsif c.size > 0 then
                again := again || format('update only %s set %s = %s', c.name, c.key_column, c.key_column);
            end if;
        end loop;
        for c in select r.oid::regclass as name from jsonb_each_text(rewritten) w join pg_class r on r.oid = w.key::oid
                  where w.value::int & 1 <> 0 and r.relpersistence = 'p' and r.relkind = 'r' and pg_relation_size(r.oid) > 0 loop
            trouble := format('the rows of table %s were written while it was unlogged, so nobody told of them (run it by '
                              '--replace-with, then let pgtide compare repair that table)', c.name);
        end loop;
        -- A publication of ours that lists its tables gets the new ones. Published for updates but without a key, a table could not be
        -- updated on the source: one that is new, or lost its key.
        for c in with recursive concerned (oid) as (
                        select objid from pg_event_trigger_ddl_commands() where classid = 'pg_class'::regclass
                        union select objid from pg_depend
                         where tg_tag like '% EXTENSION' and deptype = 'e' and classid = 'pg_class'::regclass
                        -- What is dropped does not say whose key it was. DROP INDEX takes no primary key.
                        union select oid from pg_class
                         where tg_tag like 'DROP %' and relkind = 'r' and (tg_tag = 'DROP INDEX' and relreplident = 'i'
                                                  or tg_tag in ('DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED',
                                                                'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY', 'DROP COLLATION')
                                                     and relreplident in ('d', 'i'))
                        union select inhrelid from pg_inherits join concerned on inhparent = concerned.oid)
                 select r.oid::regclass as name, r.relkind, -- Its size takes a lock: of others than a new table that would be one that the statement has not, and a deadlock.
                        case when tg_tag in ('CREATE TABLE AS', 'SELECT INTO') then pg_table_size(r.oid) else 0 end as size,
                        not exists (select from pg_depend d where d.objid = r.oid and d.classid = 'pg_class'::regclass and d.deptype = 'e')
                        and not exists (select from pg_publication_rel join pg_publication p on p.oid = prpubid
                                         where prrelid = r.oid and pubname like E'pgtide\\_@%')
                        and exists (select from pg_publication where pubname = 'pgtide_@' and not puballtables) as is_to_list,
                        exists (select from pg_publication p
                                 where pubupdate and (puballtables or exists (select from pg_publication_rel
                                                                               where prpubid = p.oid and prrelid = r.oid))) as is_listed,
                        case r.relreplident
                        when 'd' then not exists (select from pg_index where indrelid = r.oid and indisprimary and indimmediate offset 0)
                        when 'i' then not exists (select from pg_index where indrelid = r.oid and indisreplident offset 0)
                        else r.relreplident = 'n' end as is_keyless
                   from concerned cross join lateral (select oid, relkind, relpersistence, relnamespace, relreplident
                                                       from pg_class where pg_class.oid = concerned.oid offset 0) r
                  where r.relkind in ('r', 'p') and r.relpersistence = 'p' and r.relnamespace <> 'pgtide'::regnamespace loop
            if c.is_to_list and c.relkind = 'r' then
                -- The rows that it was made with were written before it is published, and are not sent: so they are written again. Not by way of a
                -- temporary table, after which no transaction can be prepared.
                if c.size > 67108864 then
                    trouble := format('publication pgtide_@ lists its tables, so the rows that table %s was made with are not sent', c.name);
                elsif c.size > 0 then
                    made_of := format('pgtide.rows_@_%s', txid_current());
                    again := again || array[format('create unlogged table %s as select * from only %s', made_of, c.name), format('truncate only %s', c.name)];
                    refill := array[format('insert into %s select * from %s', c.name, made_of), format('drop table %s', made_of)];
                end if;
                again := again || format('alter publication pgtide_@ add table only %s', c.name);
            end if;
            continue when not c.is_keyless or not (c.is_listed or c.is_to_list);
            again := again || format('alter table %s replica identity full', c.name);
        end loop;
        again := again || refill;
    end if;

    -- Before 16 pgoutput goes on telling of tables by the schema's former name, until something is told of the table: that it is published, for one.
    if tg_event = 'ddl_command_end' and tg_tag = 'ALTER SCHEMA' and current_setting('server_version_num')::int < 160000
       and exists (select from pg_publication where pubname = 'pgtide_@') then
        select again || array['create publication pgtide_@_renamed for table only ' || string_agg(r.oid::regclass::text, ', only ' order by r.oid),
                              'drop publication pgtide_@_renamed']
          into again
          from pg_class r
         where r.relnamespace in (select objid from pg_event_trigger_ddl_commands() where classid = 'pg_namespace'::regclass)
           and r.relkind = 'r' and r.relpersistence = 'p'
        having count(*) > 0;
        again := coalesce(again, '{}');
    end if;

    if n_ours = 0 then -- nobody's concern, and no reason to do anything about it
        again := '{}';
        trouble := null;
    end if;
    if tg_event = 'ddl_command_start' or made is not null or
       n_ours > 0 and tg_tag not in ('REFRESH MATERIALIZED VIEW', 'REINDEX', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION', 'DROP SUBSCRIPTION') then
        -- A long string is told once in a transaction, not with each of its statements. What is rolled back takes this setting back, too.
        if stack = '' and octet_length(said) > 1000 then
            told := statement_timestamp()::text || ' ' || octet_length(said);
        end if;
        was_told := told <> '' and told = coalesce(current_setting('pgtide.told_@', true), '');
        perform set_config('pgtide.told_@', told, true);
        insert into pgtide.ddl_@ (phase, tag, role, objects, statement, nth, sql, problem, search_path,
                                  standard_conforming_strings, datestyle, intervalstyle, timezone)
        values (case tg_event when 'ddl_command_start' then 'start' else 'end' end, tg_tag, actor, objects,
                case when not was_told then said end, case when was_told then '=' || nth else nth end, made, trouble,
                path, current_setting('standard_conforming_strings'), current_setting('datestyle'),
                current_setting('intervalstyle'), current_setting('timezone'))
        returning id, cmin::text::int8 into own, last_cid;
        delete from pgtide.ddl_@ where id = own;
        perform set_config('pgtide.cid_@', last_cid::text, true);
        if again <> '{}' then
            said := current_setting('session_replication_role');
            perform set_config('session_replication_role', 'replica', true);
            foreach made in array again loop
                execute made;
            end loop;
            perform set_config('session_replication_role', said, true);
        end if;
    end if;
    -- Detached concurrently, a partition gets a constraint in the place of its bounds; detached as the target does, it gets none.
    if tg_event = 'ddl_command_end' and tg_tag = 'ALTER TABLE' and said ~* E'\\mdetach\\s+partition\\M'
       and (n_ours > 0 or to_regclass('pgtide.chosen_@') is null) then
        made := substring(said from E'(?i)\\mdetach\\s+partition\\s+(.+?)\\s+(?:concurrently|finalize)\\M');
        perform set_config('search_path', path, true);
        own := pg_catalog.to_regclass(made)::pg_catalog.oid;
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        for c in select conname, conrelid::regclass::text as name, pg_get_constraintdef(oid) as definition
                   from pg_constraint where conrelid = own and contype = 'c' loop
            insert into pgtide.ddl_@ (phase, tag, role, objects, statement, sql, search_path, standard_conforming_strings, datestyle,
                                      intervalstyle, timezone)
            values ('end', tg_tag, actor, c.name, said,
                    format('DO $pgtide_do$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %L::regclass AND conname = %L) '
                           'THEN ALTER TABLE %s ADD CONSTRAINT %I %s; END IF; END $pgtide_do$', c.name, c.conname, c.name, c.conname,
                           c.definition),
                    'pg_catalog', 'on', 'ISO', 'postgres', 'UTC')
            returning id into own;
            delete from pgtide.ddl_@ where id = own;
        end loop;
    end if;
    perform set_config('search_path', path, true);
exception when others then
    -- Nobody's DDL fails because of us: the task stops there instead. Where it was ended meanwhile (ddl_disarm.sql) nobody is to be told.
    if exists (select from pg_catalog.pg_event_trigger where evtname operator(pg_catalog.=) '!pgtide_@_end') then
        insert into pgtide.ddl_@ (phase, tag, role, objects, statement, problem, search_path, standard_conforming_strings, datestyle,
                                  intervalstyle, timezone)
        values ('end', tg_tag, actor, '', pg_catalog.current_query(),
                pg_catalog.concat('the source could not describe it: ', sqlerrm), path, '', '', '', '')
        returning id into own;
        delete from pgtide.ddl_@ where id operator(pg_catalog.=) own;
    end if;
end
$pgtide$;

do $pgtide$
declare
    wanted record;
begin
    for wanted in select * from (values ('start', 'ddl_command_start', E' when tag in (''CREATE TABLE AS'', ''SELECT INTO'', '
                                         '''CREATE EXTENSION'', ''ALTER EXTENSION'')'),
                                        ('drop', 'sql_drop', ''), ('rewrite', 'table_rewrite', ''),
                                        ('end', 'ddl_command_end', '')) as w (name, event, filter) loop
        -- They fire in the order of their names: what triggers of others run comes after what made them run, so ours are the first.
        if not exists (select from pg_catalog.pg_event_trigger where evtname = '!pgtide_@_' || wanted.name) then
            execute format('create event trigger "!pgtide_@_%s" on %s%s execute procedure pgtide.on_ddl_@()', wanted.name, wanted.event,
                           wanted.filter);
        end if;
        execute format('alter event trigger "!pgtide_@_%s" enable always', wanted.name);
    end loop;
end
$pgtide$;
