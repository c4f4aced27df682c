-- Every object of the database with its definition as the server prints it: (kind, identity, definition). Two databases hold the
-- same objects when this gives the same rows. The search_path is pg_catalog, so that every name comes qualified. Columns that
-- came after version 10 are asked for through to_jsonb, and before 12 "c.*" has no oid. The order of a table's columns is not part
-- of its definition, and what PostgreSQL 18 keeps as not-null constraints is said of the columns. With $1 and $2, schemas and names:
-- only what belongs to these relations. $3: privileges that the other server does not know. Publications and subscriptions are not
-- carried by a sync.
with ours as (
    select n.oid, n.nspname, n.nspowner, n.nspacl
      from pg_namespace n
     where n.nspname !~ '^pg_'
       and n.nspname not in ('information_schema', 'pgtide')
       and not exists (select from pg_depend d
                        where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')
), member as (
    select classid, objid from pg_depend where deptype = 'e'
), of_multirange as ( -- what a range type gets by itself from 14 on
    select d.classid, d.objid from pg_depend d join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
     where d.deptype = 'i' and t.typtype in ('r', 'm')
), rel as (
    select c.oid, c.relkind, c.relpersistence, c.relowner, c.relacl, c.reloptions, c.relpartbound, c.reloftype, c.relreplident, c.relam,
           c.relrowsecurity, c.relforcerowsecurity, format('%I.%I', o.nspname, c.relname) as name
      from pg_class c
      join ours o on o.oid = c.relnamespace
     where c.relpersistence <> 't'
       and not exists (select from member m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
       and ($1::text[] is null or (o.nspname::text, c.relname::text) in (select * from unnest($1::text[], $2::text[])))
), fn as (
    select p.oid, p.proowner, p.proacl, p.oid::regprocedure::text as name,
           coalesce(to_jsonb(p) ->> 'prokind', case when (to_jsonb(p) ->> 'proisagg')::bool then 'a' else 'f' end) as kind
      from pg_proc p
      join ours o on o.oid = p.pronamespace
     where not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
       and not exists (select from of_multirange m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
), typ as (
    select t.oid, t.typtype, t.typowner, t.typacl, t.typrelid, t.typelem, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault, t.typinput,
           t.typoutput, format('%I.%I', o.nspname, t.typname) as name
      from pg_type t
      join ours o on o.oid = t.typnamespace
     where not exists (select from member m where m.classid = 'pg_type'::regclass and m.objid = t.oid)
), acl as (
    select case r.relkind when 'S' then 'sequence ' else 'table ' end || r.name as name, g.*
      from rel r, aclexplode(coalesce(r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner))) g
     where r.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    union all
    select format('column %s.%I', r.name, a.attname), g.*
      from rel r join pg_attribute a on a.attrelid = r.oid and not a.attisdropped, aclexplode(a.attacl) g
    union all
    select 'schema ' || quote_ident(o.nspname), g.*
      from ours o, aclexplode(coalesce(o.nspacl, acldefault('n', o.nspowner))) g
    union all
    select 'function ' || f.name, g.* from fn f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) g
    union all
    select 'type ' || t.name, g.*
      from typ t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) g
     where t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and exists (select from rel r where r.oid = t.typrelid and r.relkind = 'c')
    union all
    select format('default privileges of %s%s on %s', d.defaclrole::regrole, ' in ' || nullif(d.defaclnamespace, 0)::regnamespace::text,
                  d.defaclobjtype), g.*
      from pg_default_acl d, aclexplode(d.defaclacl) g
    union all
    select 'foreign server ' || quote_ident(s.srvname), g.*
      from pg_foreign_server s, aclexplode(coalesce(s.srvacl, acldefault('S', s.srvowner))) g
), found(kind, identity, definition) as (
    select 'schema', quote_ident(nspname), 'owner ' || quote_ident(pg_get_userbyid(nspowner)) from ours
    union all
    select 'extension', quote_ident(extname), format('version %s, schema %s', extversion, extnamespace::regnamespace)
      from pg_extension
    union all
    select case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'table' end, name,
           format('%s, owner %I, options %s%s%s%s%s%s%s',
                  case when relkind in ('v', 'm') then pg_get_viewdef(oid)
                       when relkind = 'p' then 'partitioned by ' || pg_get_partkeydef(oid)
                       when relpersistence = 'u' then 'unlogged' else 'plain' end,
                  pg_get_userbyid(relowner),
                  array(select unnest(reloptions) order by 1),
                  ', partition ' || pg_get_expr(relpartbound, oid),
                  ', of ' || nullif(reloftype, 0)::regtype::text,
                  case relreplident when 'f' then ', replica identity full' when 'n' then ', replica identity nothing'
                                    when 'i' then ', replica identity by an index' end,
                  case when relrowsecurity then ', row security' || case when relforcerowsecurity then ' forced' else '' end end,
                  (select ', access method ' || amname from pg_am where pg_am.oid = rel.relam and amname <> 'heap'),
                  (select format(', server %I, options %s', s.srvname, array(select unnest(ftoptions) order by 1))
                     from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = rel.oid))
      from rel
     where relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'parent', rel.name, string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
      from rel join pg_inherits i on i.inhrelid = rel.oid
     where rel.relkind in ('r', 'p', 'f')
     group by rel.name
    union all
    select 'column', format('%s.%I', r.name, a.attname),
           format('%s%s%s%s%s%s%s%s%s%s', format_type(a.atttypid, a.atttypmod),
                  case when a.attnotnull then ' not null' end,
                  ' default ' || pg_get_expr(d.adbin, d.adrelid),
                  case a.attidentity when 'a' then ' identity always' when 'd' then ' identity by default' end,
                  case to_jsonb(a) ->> 'attgenerated' when 's' then ' stored' when 'v' then ' virtual' end,
                  (select format(' collate %s.%I', l.collnamespace::regnamespace, l.collname) from pg_collation l join pg_type t on t.oid = a.atttypid
                    where l.oid = a.attcollation and a.attcollation <> t.typcollation),
                  (select ' storage ' || a.attstorage::text from pg_type t where t.oid = a.atttypid and a.attstorage <> t.typstorage),
                  ' compression ' || nullif(to_jsonb(a) ->> 'attcompression', ''),
                  ' statistics ' || nullif(to_jsonb(a) ->> 'attstattarget', '-1'),
                  (select ' options ' || string_agg(o, ', ' order by o) from unnest(a.attoptions || a.attfdwoptions) o))
      from rel r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where r.relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'index', i.indexrelid::regclass::text,
           pg_get_indexdef(i.indexrelid) || case when i.indisreplident then ', replica identity' else '' end
           || case when i.indisclustered then ', clustered' else '' end || case when i.indisvalid then '' else ', not valid' end
      from pg_index i join rel r on r.oid = i.indrelid
    union all
    -- A foreign key to a partitioned table has one more row for each partition it points to, under names that differ from version to
    -- version; VALIDATE CONSTRAINT leaves those as they are
    select 'constraint', format('%s %I', coalesce(r.name, c.contypid::regtype::text), coalesce(whole.conname, c.conname))
                         || coalesce(' to ' || nullif(case when whole.oid is not null then c.confrelid end, 0)::regclass::text, ''),
           case when whole.oid is not null then regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '') else pg_get_constraintdef(c.oid) end
      from pg_constraint c
      join ours o on o.oid = c.connamespace
      left join rel r on r.oid = c.conrelid
      left join pg_constraint whole on whole.oid::text = to_jsonb(c) ->> 'conparentid' and whole.conrelid = c.conrelid
     where c.contype not in ('n', 't')
       and (c.conrelid = 0 and $1::text[] is null or r.oid is not null)
       and ($1::text[] is null or c.confrelid = 0 or c.confrelid in (select oid from rel))
    union all
    -- FUNCTION is printed from 12 on. The copies that partitions have of a trigger are internal before 13; later they may be another way
    -- enabled than the trigger itself.
    select 'trigger', format('%s %I', r.name, t.tgname), format('%s, enabled %s', replace(pg_get_triggerdef(t.oid), ' EXECUTE PROCEDURE ', ' EXECUTE FUNCTION '), t.tgenabled)
      from pg_trigger t join rel r on r.oid = t.tgrelid
     where not t.tgisinternal
       and not exists (select from pg_trigger p where p.oid::text = to_jsonb(t) ->> 'tgparentid' and p.tgenabled = t.tgenabled)
    union all
    select 'rule', format('%s %I', r.name, w.rulename), format('%s, enabled %s', pg_get_ruledef(w.oid), w.ev_enabled)
      from pg_rewrite w join rel r on r.oid = w.ev_class
     where w.rulename <> '_RETURN'
    union all
    select 'policy', format('%s %I', r.name, p.polname),
           format('%s, permissive %s, for %s%s%s', p.polcmd, p.polpermissive,
                  (select string_agg(coalesce(nullif(x, 0)::regrole::text, 'public'), ', ' order by 1) from unnest(p.polroles) x),
                  ' using ' || pg_get_expr(p.polqual, p.polrelid), ' check ' || pg_get_expr(p.polwithcheck, p.polrelid))
      from pg_policy p join rel r on r.oid = p.polrelid
    union all
    select 'statistics', format('%s.%I', s.stxnamespace::regnamespace, s.stxname), pg_get_statisticsobjdef(s.oid)
      from pg_statistic_ext s join rel r on r.oid = s.stxrelid
    union all
    select 'sequence', r.name,
           format('%s, start %s, step %s, from %s to %s, cache %s, cycle %s, owner %I%s', s.seqtypid::regtype, s.seqstart, s.seqincrement,
                  s.seqmin, s.seqmax, s.seqcache, s.seqcycle, pg_get_userbyid(r.relowner),
                  (select format(', owned by %s.%I', d.refobjid::regclass, a.attname)
                     from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                    where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.deptype in ('a', 'i')
                      and d.refclassid = 'pg_class'::regclass))
      from pg_sequence s join rel r on r.oid = s.seqrelid
    union all
    select 'function', name, pg_get_functiondef(oid) || 'owner ' || quote_ident(pg_get_userbyid(proowner))
      from (select * from fn where kind not in ('a', 'p') offset 0) plain
    union all
    -- A procedure's IN is printed from 14 on
    select 'procedure', name, replace(pg_get_functiondef(oid), '(' || pg_get_function_arguments(oid) || ')',
                                      '(' || regexp_replace(pg_get_function_arguments(oid), '(^|, )IN ', '\1', 'g') || ')')
                              || 'owner ' || quote_ident(pg_get_userbyid(proowner))
      from (select * from fn where kind = 'p' offset 0) plain
    union all
    select 'aggregate', f.name, format('%s over %s from %s to %s, combined by %s, owner %I', a.aggtransfn, a.aggtranstype::regtype, a.agginitval,
                                       a.aggfinalfn, a.aggcombinefn, pg_get_userbyid(f.proowner))
      from fn f join pg_aggregate a on a.aggfnoid = f.oid
    union all
    select 'type', name,
           format('%s, owner %I',
                  case typtype
                      when 'e' then 'enum ' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = typ.oid)
                      when 'd' then format('domain of %s%s%s', format_type(typbasetype, typtypmod), case when typnotnull then ' not null' end, ' default ' || typdefault)
                      when 'r' then (select format('range of %s by %s', g.rngsubtype::regtype, p.opcname)
                                       from pg_range g join pg_opclass p on p.oid = g.rngsubopc where g.rngtypid = typ.oid)
                      when 'c' then 'composite ' || (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                                                       from pg_attribute a where a.attrelid = typrelid and a.attnum > 0 and not a.attisdropped)
                      else format('base, input %s, output %s', typinput, typoutput) end,
                  pg_get_userbyid(typowner))
      from typ
     where typtype in ('e', 'd', 'r') or typtype = 'c' and exists (select from rel r where r.oid = typrelid and r.relkind = 'c')
        or typtype = 'b' and typelem = 0
    union all
    select 'collation', format('%s.%I', l.collnamespace::regnamespace, l.collname),
           format('provider %s, %s, %s', l.collprovider, coalesce(to_jsonb(l) ->> 'colllocale', to_jsonb(l) ->> 'colliculocale', l.collcollate::text),
                  coalesce(to_jsonb(l) ->> 'collisdeterministic', 'true'))
      from pg_collation l join ours o on o.oid = l.collnamespace
     where not exists (select from member m where m.classid = 'pg_collation'::regclass and m.objid = l.oid)
    union all
    select 'operator', p.oid::regoperator::text, format('%s, owner %I', p.oprcode, pg_get_userbyid(p.oprowner))
      from pg_operator p join ours o on o.oid = p.oprnamespace
     where not exists (select from member m where m.classid = 'pg_operator'::regclass and m.objid = p.oid)
    union all
    select 'operator class', format('%s.%I using %s', p.opcnamespace::regnamespace, p.opcname, a.amname),
           format('for %s, default %s, owner %I', p.opcintype::regtype, p.opcdefault, pg_get_userbyid(p.opcowner))
      from pg_opclass p join ours o on o.oid = p.opcnamespace join pg_am a on a.oid = p.opcmethod
     where not exists (select from member m where m.classid = 'pg_opclass'::regclass and m.objid = p.oid)
    union all
    select 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), format('%s %s by %s', c.castcontext, c.castmethod, nullif(c.castfunc, 0)::regprocedure)
      from pg_cast c
     where c.oid >= 16384
       and not exists (select from member m where m.classid = 'pg_cast'::regclass and m.objid = c.oid)
       and not exists (select from of_multirange m where m.classid = 'pg_cast'::regclass and m.objid = c.oid)
    union all
    select 'text search configuration', format('%s.%I', c.cfgnamespace::regnamespace, c.cfgname),
           format('parser %s, %s', (select prsname from pg_ts_parser p where p.oid = c.cfgparser),
                  (select string_agg(format('%s: %s', m.maptokentype, m.mapdict::regdictionary), ', ' order by m.maptokentype, m.mapseqno)
                     from pg_ts_config_map m where m.mapcfg = c.oid))
      from pg_ts_config c join ours o on o.oid = c.cfgnamespace
     where not exists (select from member m where m.classid = 'pg_ts_config'::regclass and m.objid = c.oid)
    union all
    select 'text search dictionary', format('%s.%I', c.dictnamespace::regnamespace, c.dictname),
           format('template %s, %s', (select tmplname from pg_ts_template p where p.oid = c.dicttemplate), c.dictinitoption)
      from pg_ts_dict c join ours o on o.oid = c.dictnamespace
     where not exists (select from member m where m.classid = 'pg_ts_dict'::regclass and m.objid = c.oid)
    union all
    select 'event trigger', quote_ident(e.evtname), format('on %s, tags %s, execute %s, enabled %s, owner %I', e.evtevent, e.evttags, e.evtfoid::regprocedure,
                                                            e.evtenabled, pg_get_userbyid(e.evtowner))
      from pg_event_trigger e
     where e.evtname !~ '^!?pgtide_'
       and not exists (select from member m where m.classid = 'pg_event_trigger'::regclass and m.objid = e.oid)
    union all
    select 'foreign server', quote_ident(s.srvname), format('wrapper %s, type %s, version %s, options %s',
                                                            (select fdwname from pg_foreign_data_wrapper w where w.oid = s.srvfdw), s.srvtype, s.srvversion,
                                                            array(select unnest(s.srvoptions) order by 1))
      from pg_foreign_server s
    union all
    select 'language', quote_ident(l.lanname), format('trusted %s, owner %I', l.lanpltrusted, pg_get_userbyid(l.lanowner))
      from pg_language l
     where l.lanispl
    union all
    select 'comment', i.type || ' ' || i.identity, d.description
      from pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
     where (d.objoid >= 16384 or d.classoid = 'pg_namespace'::regclass and d.objoid in (select oid from ours))
       and not exists (select from member m where m.classid = d.classoid and m.objid = d.objoid)
       and coalesce(i.schema, '') not in ('pgtide', 'pg_toast')
       and i.identity !~ '^"?pgtide'
       and ($1::text[] is null or d.classoid = 'pg_class'::regclass and d.objoid in (select oid from rel))
    union all
    select 'security label', i.type || ' ' || i.identity, format('%s: %s', l.provider, l.label)
      from pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i
    union all
    select 'grant', name, string_agg(format('%s to %s by %s%s', privilege_type, coalesce(nullif(grantee, 0)::regrole::text, 'public'), grantor::regrole,
                                            case when is_grantable then ' with grant option' end), ', '
                                     order by privilege_type collate "C", coalesce(nullif(grantee, 0)::regrole::text, 'public') collate "C", grantor::regrole::text collate "C")
      from acl
     where privilege_type <> all ($3::text[])
     group by name
)
select kind, identity, definition
  from found
 where $1::text[] is null
    or kind in ('table', 'view', 'materialized view', 'foreign table', 'parent', 'column', 'index', 'constraint', 'trigger', 'rule', 'policy',
                'statistics', 'sequence', 'comment')
    or kind = 'grant' and identity ~ '^(table|sequence|column) '
 order by kind collate "C", identity collate "C", definition collate "C"
