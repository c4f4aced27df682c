-- Every object of the database with its definition as the server prints it: (kind, identity, definition). Two databases hold the
-- same objects when this gives the same rows. The search_path is pg_catalog, so that every name comes qualified. Columns that
-- came after version 10 are asked for through to_jsonb, and before 12 "c.*" has no oid. The order of a table's columns is not part
-- of its definition, and what PostgreSQL 18 keeps as not-null constraints is said of the columns. With $1 and $2, schemas and names:
-- only what belongs to these relations. $3: privileges that the other server does not know. $4: both servers have names for not-null
-- constraints (18 on). $5: both know multiranges and subscripts of types (14 on). $6: both users see the options of all user mappings; of them only sums are shown, as they may be passwords. $7: publications, too (but
-- pgtide's own); of relations given those that name them; $8: both know that TRUNCATE is published (11 on); $9: a sync is under way,
-- at whose end triggers and rules that fire for replicas are set. Not what a sync does not carry: subscriptions, tablespaces. What is listed here without its order is ordered bytewise: databases sort in many ways.
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
    select c.oid, c.relkind, c.relpersistence, c.relowner, c.relacl, c.reloptions, c.relpartbound, c.reloftype, c.relreplident, c.relam, c.reltoastrelid,
           c.relrowsecurity, c.relforcerowsecurity, format('%I.%I', o.nspname, c.relname) as name
      from pg_class c
      join ours o on o.oid = c.relnamespace
     where c.relpersistence <> 't'
       and not exists (select from member m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
       and ($1::text[] is null or (o.nspname::text, c.relname::text) in (select * from unnest($1::text[], $2::text[])))
), fn as (
    select p.oid, p.proowner, p.proacl, p.proparallel, p.oid::regprocedure::text as name,
           coalesce(to_jsonb(p) ->> 'prokind', case when (to_jsonb(p) ->> 'proisagg')::bool then 'a' else 'f' end) as kind
      from pg_proc p
      join ours o on o.oid = p.pronamespace
     where not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
       and not exists (select from of_multirange m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
), typ as (
    select t.oid, t.typtype, t.typowner, t.typacl, t.typrelid, t.typelem, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault, t.typinput,
           t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory,
           t.typispreferred, t.typdelim, to_jsonb(t) ->> 'typsubscript' as subscript, format('%I.%I', o.nspname, t.typname) as name,
           (select format(' collate %s.%I', l.collnamespace::regnamespace, l.collname) from pg_collation l left join pg_type b on b.oid = t.typbasetype
             where l.oid = t.typcollation and t.typcollation <> coalesce(b.typcollation, 0)) as collated
      from pg_type t
      join ours o on o.oid = t.typnamespace
     where not exists (select from member m where m.classid = 'pg_type'::regclass and m.objid = t.oid)
       and (t.typtype in ('e', 'd', 'r') or t.typtype = 'p'
            or t.typtype = 'c' and exists (select from rel r where r.oid = t.typrelid and r.relkind = 'c')
            or t.typtype = 'b' and not exists (select from pg_type e where e.typarray = t.oid))
), lang as (
    select l.oid, l.lanname, l.lanowner, l.lanacl, l.lanpltrusted, l.lanplcallfoid, l.laninline, l.lanvalidator
      from pg_language l
     where l.lanispl
       and not exists (select from member m where m.classid = 'pg_language'::regclass and m.objid = l.oid)
), fdw as (
    select w.oid, w.fdwname, w.fdwowner, w.fdwacl, w.fdwhandler, w.fdwvalidator, w.fdwoptions
      from pg_foreign_data_wrapper w
     where not exists (select from member m where m.classid = 'pg_foreign_data_wrapper'::regclass and m.objid = w.oid)
), pub as (
    select p.oid, p.pubname, p.pubowner, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, to_jsonb(p) as more
      from pg_publication p
     where $7::boolean
       and p.pubname !~ '^pgtide_[0-9a-f]{12}(_inserts|_renamed)?$'
       and ($1::text[] is null or not p.puballtables and exists (select from pg_publication_rel m join rel r on r.oid = m.prrelid where m.prpubid = p.oid))
), standard(name, acl, standard) as ( -- what has rights by initdb or an extension, and what they would be if nobody had touched them
    select case when c.relkind = 'S' then 'sequence ' else 'table ' end || c.oid::regclass, c.relacl,
           coalesce(i.initprivs, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
      from pg_class c left join pg_init_privs i on i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = 0
     where c.relacl is distinct from i.initprivs
       and (c.relnamespace = 'pg_catalog'::regnamespace or c.oid in (select objid from member where classid = 'pg_class'::regclass))
    union all
    select format('column %s.%I', a.attrelid::regclass, a.attname), a.attacl, coalesce(i.initprivs, acldefault('c', c.relowner))
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid
      left join pg_init_privs i on i.classoid = 'pg_class'::regclass and i.objoid = a.attrelid and i.objsubid = a.attnum
     where a.attacl is distinct from i.initprivs
       and (c.relnamespace = 'pg_catalog'::regnamespace or c.oid in (select objid from member where classid = 'pg_class'::regclass))
    union all
    select 'function ' || p.oid::regprocedure, p.proacl, coalesce(i.initprivs, acldefault('f', p.proowner))
      from pg_proc p left join pg_init_privs i on i.classoid = 'pg_proc'::regclass and i.objoid = p.oid and i.objsubid = 0
     where p.proacl is distinct from i.initprivs
       and (p.pronamespace = 'pg_catalog'::regnamespace or p.oid in (select objid from member where classid = 'pg_proc'::regclass))
    union all
    select 'schema ' || n.oid::regnamespace, n.nspacl, coalesce(i.initprivs, acldefault('n', n.nspowner))
      from pg_namespace n left join pg_init_privs i on i.classoid = 'pg_namespace'::regclass and i.objoid = n.oid and i.objsubid = 0
     where n.nspacl is distinct from i.initprivs
       and (n.nspname = 'pg_catalog' or n.oid in (select objid from member where classid = 'pg_namespace'::regclass))
    union all
    select 'type ' || t.oid::regtype, t.typacl, coalesce(i.initprivs, acldefault('T', t.typowner))
      from pg_type t left join pg_init_privs i on i.classoid = 'pg_type'::regclass and i.objoid = t.oid and i.objsubid = 0
     where t.typacl is distinct from i.initprivs
       and (t.typnamespace = 'pg_catalog'::regnamespace or t.oid in (select objid from member where classid = 'pg_type'::regclass))
    union all
    select 'language ' || quote_ident(l.lanname), l.lanacl, coalesce(i.initprivs, acldefault('l', l.lanowner))
      from pg_language l left join pg_init_privs i on i.classoid = 'pg_language'::regclass and i.objoid = l.oid and i.objsubid = 0
     where l.lanacl is distinct from i.initprivs and l.oid not in (select oid from lang)
    union all
    select 'foreign data wrapper ' || quote_ident(w.fdwname), w.fdwacl, coalesce(i.initprivs, acldefault('F', w.fdwowner))
      from pg_foreign_data_wrapper w
      left join pg_init_privs i on i.classoid = 'pg_foreign_data_wrapper'::regclass and i.objoid = w.oid and i.objsubid = 0
     where w.fdwacl is distinct from i.initprivs and w.oid not in (select oid from fdw)
), touched as (
    select s.name, g.change, x.*
      from standard s,
           lateral (values ('', s.acl, s.standard), ('no ', s.standard, s.acl)) g(change, has, lacks),
           lateral (select * from aclexplode(g.has) except select * from aclexplode(g.lacks)) x
     where s.acl is not null
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
    select 'type ' || t.name, g.* from typ t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) g where t.typtype <> 'p'
    union all
    -- All that was taken away is less than nothing said
    select format('default privileges of %s%s on %s', d.defaclrole::regrole, ' in ' || nullif(d.defaclnamespace, 0)::regnamespace::text,
                  d.defaclobjtype), g.*
      from pg_default_acl d left join lateral aclexplode(d.defaclacl) g on true
    union all
    select 'language ' || quote_ident(l.lanname), g.*
      from lang l, aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) g
    union all
    select 'foreign data wrapper ' || quote_ident(w.fdwname), g.*
      from fdw w, aclexplode(coalesce(w.fdwacl, acldefault('F', w.fdwowner))) g
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
                  array(select o collate "C" from (select unnest(rel.reloptions) union all
                                                   select 'toast.' || unnest(t.reloptions) from pg_class t where t.oid = rel.reltoastrelid) x(o) order by 1),
                  (select format(', server %I, %s', s.srvname, array(select unnest(f.ftoptions) collate "C" order by 1))
                     from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = rel.oid),
                  ', partition ' || pg_get_expr(relpartbound, oid),
                  ', of ' || nullif(reloftype, 0)::regtype::text,
                  case relreplident when 'f' then ', replica identity full' when 'n' then ', replica identity nothing'
                                    when 'i' then ', replica identity by an index' end,
                  case when relrowsecurity then ', row security' || case when relforcerowsecurity then ' forced' else '' end end,
                  (select ', access method ' || amname from pg_am where pg_am.oid = rel.relam and amname <> 'heap'))
      from rel
     where relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'parent', rel.name,
           string_agg(i.inhparent::regclass || case when (to_jsonb(i) ->> 'inhdetachpending')::bool then ', being detached' else '' end, ', ' order by i.inhseqno)
      from rel join pg_inherits i on i.inhrelid = rel.oid
     where rel.relkind in ('r', 'p', 'f')
     group by rel.name
    union all
    select 'column', format('%s.%I', r.name, a.attname),
           format('%s%s%s%s%s%s%s%s%s%s%s%s%s', format_type(a.atttypid, a.atttypmod),
                  case when a.attnotnull then ' not null' end,
                  -- Before 18 it has neither a name nor these properties
                  (select concat(case when $4::boolean then format(' by %I', c.conname) end, case when not c.convalidated then ' not valid' end,
                                 case when c.connoinherit then ' no inherit' end)
                     from pg_constraint c
                    where a.attnotnull and current_setting('server_version_num')::int >= 180000
                      and c.contype = 'n' and c.conrelid = a.attrelid and c.conkey = array[a.attnum]),
                  ' default ' || pg_get_expr(d.adbin, d.adrelid),
                  case a.attidentity when 'a' then ' identity always' when 'd' then ' identity by default' end,
                  case to_jsonb(a) ->> 'attgenerated' when 's' then ' stored' when 'v' then ' virtual' end,
                  (select format(' collate %s.%I', l.collnamespace::regnamespace, l.collname) from pg_collation l join pg_type t on t.oid = a.atttypid
                    where l.oid = a.attcollation and a.attcollation <> t.typcollation),
                  (select ' storage ' || a.attstorage::text from pg_type t where t.oid = a.atttypid and a.attstorage <> t.typstorage),
                  ' compression ' || nullif(to_jsonb(a) ->> 'attcompression', ''),
                  ' statistics ' || nullif(to_jsonb(a) ->> 'attstattarget', '-1'),
                  ' options ' || nullif(array(select unnest(a.attoptions) collate "C" order by 1), '{}')::text,
                  ' foreign options ' || nullif(array(select unnest(a.attfdwoptions) collate "C" order by 1), '{}')::text,
                  case when not a.attislocal and r.relpartbound is null then ' inherited' end)
      from rel r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where r.relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'index', i.indexrelid::regclass::text,
           pg_get_indexdef(i.indexrelid) || case when i.indisreplident then ', replica identity' else '' end
           || case when i.indisclustered then ', clustered' else '' end || case when i.indisvalid then '' else ', not valid' end
           || coalesce((select ', part of ' || h.inhparent::regclass from pg_inherits h where h.inhrelid = i.indexrelid), '')
           || coalesce((select string_agg(format(', statistics %s of column %s', a.attstattarget, a.attnum), '' order by a.attnum)
                          from pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0), '')
      from pg_index i join rel r on r.oid = i.indrelid
    union all
    -- A foreign key to a partitioned table has one more row for each partition it points to, under names that differ from version to
    -- version; VALIDATE CONSTRAINT leaves those as they are
    select 'constraint', format('%s %I', coalesce(r.name, c.contypid::regtype::text), coalesce(whole.conname, c.conname))
                         || coalesce(' to ' || nullif(case when whole.oid is not null then c.confrelid end, 0)::regclass::text, ''),
           case when whole.oid is not null then regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '') else pg_get_constraintdef(c.oid) end
           || case when c.contype = 'c' and not c.conislocal and r.relpartbound is null then ' inherited' else '' end
           || coalesce((select string_agg(format(', a trigger on %s is enabled %s', t.tgrelid::regclass, t.tgenabled), '' order by t.tgrelid::regclass::text collate "C", t.tgenabled::text collate "C")
                          from pg_trigger t where t.tgconstraint = c.oid and t.tgisinternal and t.tgenabled <> 'O'), '')
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
    select 'trigger', format('%s %I', r.name, t.tgname), format('%s, enabled %s', replace(pg_get_triggerdef(t.oid), ' EXECUTE PROCEDURE ', ' EXECUTE FUNCTION '),
                                                        case when $9::boolean and t.tgenabled in ('A', 'R') then 'O' else t.tgenabled end)
      from pg_trigger t join rel r on r.oid = t.tgrelid
     where not t.tgisinternal
       and not exists (select from pg_trigger p where p.oid::text = to_jsonb(t) ->> 'tgparentid' and p.tgenabled = t.tgenabled)
    union all
    select 'rule', format('%s %I', r.name, w.rulename), format('%s, enabled %s', pg_get_ruledef(w.oid), case when $9::boolean and w.ev_enabled in ('A', 'R') then 'O' else w.ev_enabled end)
      from pg_rewrite w join rel r on r.oid = w.ev_class
     where w.rulename <> '_RETURN'
    union all
    select 'policy', format('%s %I', r.name, p.polname),
           format('%s, permissive %s, for %s%s%s', p.polcmd, p.polpermissive,
                  (select string_agg(r, ', ' order by r) from (select coalesce(nullif(x, 0)::regrole::text, 'public') collate "C" from unnest(p.polroles) x) y(r)),
                  ' using ' || pg_get_expr(p.polqual, p.polrelid), ' check ' || pg_get_expr(p.polwithcheck, p.polrelid))
      from pg_policy p join rel r on r.oid = p.polrelid
    union all
    select 'statistics', format('%s.%I', s.stxnamespace::regnamespace, s.stxname),
           format('%s, owner %I%s', pg_get_statisticsobjdef(s.oid), pg_get_userbyid(s.stxowner), ', target ' || nullif(to_jsonb(s) ->> 'stxstattarget', '-1'))
      from pg_statistic_ext s join rel r on r.oid = s.stxrelid
    union all
    select 'sequence', r.name,
           format('%s, start %s, step %s, from %s to %s, cache %s, cycle %s, owner %I%s%s', s.seqtypid::regtype, s.seqstart, s.seqincrement,
                  s.seqmin, s.seqmax, s.seqcache, s.seqcycle, pg_get_userbyid(r.relowner),
                  -- That of an identity column is like its table
                  case when r.relpersistence = 'u' and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.deptype = 'i')
                       then ', unlogged' end,
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
    select 'aggregate', f.name,
           format('%s over %s from %s to %s, combined by %s, owner %I, arguments %s, parallel %s, space %s%s%s%s%s%s%s%s', a.aggtransfn, a.aggtranstype::regtype, a.agginitval,
                  a.aggfinalfn, a.aggcombinefn, pg_get_userbyid(f.proowner), pg_get_function_arguments(f.oid), f.proparallel, a.aggtransspace,
                  case a.aggkind when 'h' then ', hypothetical' when 'o' then ', ordered set' end,
                  case when a.aggfinalextra then ', final function with all arguments' end,
                  -- Since 11; otherwise than usual for its kind
                  ', final function modifies ' || nullif(to_jsonb(a) ->> 'aggfinalmodify', case a.aggkind when 'n' then 'r' else 'w' end),
                  ', sorted like ' || nullif(a.aggsortop, 0)::regoperator::text,
                  case when a.aggserialfn <> 0 then format(', serialized by %s and %s', a.aggserialfn, a.aggdeserialfn) end,
                  case when a.aggmtransfn <> 0 then format(', moving: %s and %s over %s from %s to %s, space %s%s', a.aggmtransfn, a.aggminvtransfn, a.aggmtranstype::regtype,
                                                           a.aggminitval, a.aggmfinalfn, a.aggmtransspace, case when a.aggmfinalextra then ' with all arguments' end) end,
                  case when a.aggmtransfn <> 0 then
                       ', moving final function modifies ' || nullif(to_jsonb(a) ->> 'aggmfinalmodify', case a.aggkind when 'n' then 'r' else 'w' end) end)
      from fn f join pg_aggregate a on a.aggfnoid = f.oid
    union all
    select 'type', name,
           format('%s, owner %I',
                  case typtype
                      when 'e' then 'enum ' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = typ.oid)
                      when 'd' then format('domain of %s%s%s%s', format_type(typbasetype, typtypmod), collated, case when typnotnull then ' not null' end, ' default ' || typdefault)
                      when 'r' then (select format('range of %s by %s.%I%s, canonical %s, difference %s%s', g.rngsubtype::regtype, p.opcnamespace::regnamespace, p.opcname,
                                                   (select format(' collate %s.%I', l.collnamespace::regnamespace, l.collname) from pg_collation l join pg_type t on t.oid = g.rngsubtype
                                                     where l.oid = g.rngcollation and l.oid <> t.typcollation),
                                                   g.rngcanonical, g.rngsubdiff,
                                                   case when $5::boolean then ', multirange ' || ((to_jsonb(g) ->> 'rngmultitypid')::oid)::regtype::text end)
                                       from pg_range g join pg_opclass p on p.oid = g.rngsubopc where g.rngtypid = typ.oid)
                      when 'c' then 'composite ' || (select string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                                                              (select format(' collate %s.%I', l.collnamespace::regnamespace, l.collname)
                                                                                 from pg_collation l join pg_type t on t.oid = a.atttypid
                                                                                where l.oid = a.attcollation and l.oid <> t.typcollation)), ', ' order by a.attnum)
                                                       from pg_attribute a where a.attrelid = typrelid and a.attnum > 0 and not a.attisdropped)
                      when 'p' then 'shell'
                      else format('base, input %s, output %s, receive %s, send %s, modifier %s and %s, analyze %s, length %s, by value %s, align %s, storage %s, '
                                  'category %s, preferred %s, delimiter %s, element %s%s%s%s', typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, typlen,
                                  typbyval, typalign, typstorage, typcategory, typispreferred, typdelim, typelem::regtype, ' default ' || typdefault, collated,
                                  case when $5::boolean then ', subscript ' || subscript end) end,
                  pg_get_userbyid(typowner))
      from typ
    union all
    select 'collation', format('%s.%I', l.collnamespace::regnamespace, l.collname),
           format('provider %s, %s, %s%s%s, owner %I', l.collprovider, coalesce(to_jsonb(l) ->> 'colllocale', to_jsonb(l) ->> 'colliculocale', l.collcollate::text),
                  coalesce(to_jsonb(l) ->> 'collisdeterministic', 'true'), case when l.collprovider = 'c' then ', characters ' || l.collctype end,
                  ', rules ' || (to_jsonb(l) ->> 'collicurules'), pg_get_userbyid(l.collowner))
      from pg_collation l join ours o on o.oid = l.collnamespace
     where not exists (select from member m where m.classid = 'pg_collation'::regclass and m.objid = l.oid)
    union all
    select 'conversion', format('%s.%I', c.connamespace::regnamespace, c.conname),
           format('from %s to %s by %s, default %s, owner %I', pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding), c.conproc, c.condefault,
                  pg_get_userbyid(c.conowner))
      from pg_conversion c join ours o on o.oid = c.connamespace
     where not exists (select from member m where m.classid = 'pg_conversion'::regclass and m.objid = c.oid)
    union all
    -- One that is only spoken of, by another, is none yet
    select 'operator', p.oid::regoperator::text,
           format('%s, owner %I, commutator %s, negator %s, restrict %s, join %s, merges %s, hashes %s', p.oprcode, pg_get_userbyid(p.oprowner),
                  nullif(p.oprcom, 0)::regoperator, nullif(p.oprnegate, 0)::regoperator, p.oprrest, p.oprjoin, p.oprcanmerge, p.oprcanhash)
      from pg_operator p join ours o on o.oid = p.oprnamespace
     where p.oprcode <> 0
       and not exists (select from member m where m.classid = 'pg_operator'::regclass and m.objid = p.oid)
    union all
    select 'operator class', format('%s.%I using %s', p.opcnamespace::regnamespace, p.opcname, a.amname),
           format('for %s, default %s, family %s.%I, storage %s, owner %I', p.opcintype::regtype, p.opcdefault, f.opfnamespace::regnamespace, f.opfname,
                  nullif(p.opckeytype, 0)::regtype, pg_get_userbyid(p.opcowner))
      from pg_opclass p join ours o on o.oid = p.opcnamespace join pg_am a on a.oid = p.opcmethod join pg_opfamily f on f.oid = p.opcfamily
     where not exists (select from member m where m.classid = 'pg_opclass'::regclass and m.objid = p.oid)
    union all
    select 'operator family', format('%s.%I using %s', f.opfnamespace::regnamespace, f.opfname, a.amname),
           format('owner %I, operators %s, functions %s', pg_get_userbyid(f.opfowner),
                  (select string_agg(format('%s for %s and %s: %s%s', x.amopstrategy, x.amoplefttype::regtype, x.amoprighttype::regtype, x.amopopr::regoperator,
                                            ' sorts by ' || (select format('%s.%I', s.opfnamespace::regnamespace, s.opfname) from pg_opfamily s where s.oid = x.amopsortfamily)), ', '
                                     order by x.amopstrategy, x.amoppurpose, x.amoplefttype::regtype::text collate "C", x.amoprighttype::regtype::text collate "C")
                     from pg_amop x where x.amopfamily = f.oid),
                  (select string_agg(format('%s for %s and %s: %s', x.amprocnum, x.amproclefttype::regtype, x.amprocrighttype::regtype, x.amproc::oid::regprocedure), ', '
                                     order by x.amprocnum, x.amproclefttype::regtype::text collate "C", x.amprocrighttype::regtype::text collate "C")
                     from pg_amproc x where x.amprocfamily = f.oid))
      from pg_opfamily f join ours o on o.oid = f.opfnamespace join pg_am a on a.oid = f.opfmethod
     where not exists (select from member m where m.classid = 'pg_opfamily'::regclass and m.objid = f.oid)
    union all
    select 'access method', quote_ident(a.amname), format('of %s, handler %s', a.amtype, a.amhandler)
      from pg_am a
     where a.oid >= 16384
       and not exists (select from member m where m.classid = 'pg_am'::regclass and m.objid = a.oid)
    union all
    select 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), format('%s %s by %s', c.castcontext, c.castmethod, nullif(c.castfunc, 0)::regprocedure)
      from pg_cast c
     where c.oid >= 16384
       and not exists (select from member m where m.classid = 'pg_cast'::regclass and m.objid = c.oid)
       and not exists (select from of_multirange m where m.classid = 'pg_cast'::regclass and m.objid = c.oid)
    union all
    select 'text search configuration', format('%s.%I', c.cfgnamespace::regnamespace, c.cfgname),
           format('parser %s, owner %I, %s', (select format('%s.%I', p.prsnamespace::regnamespace, p.prsname) from pg_ts_parser p where p.oid = c.cfgparser),
                  pg_get_userbyid(c.cfgowner),
                  (select string_agg(format('%s: %s', m.maptokentype, m.mapdict::regdictionary), ', ' order by m.maptokentype, m.mapseqno)
                     from pg_ts_config_map m where m.mapcfg = c.oid))
      from pg_ts_config c join ours o on o.oid = c.cfgnamespace
     where not exists (select from member m where m.classid = 'pg_ts_config'::regclass and m.objid = c.oid)
    union all
    select 'text search dictionary', format('%s.%I', c.dictnamespace::regnamespace, c.dictname),
           format('template %s, owner %I, %s', (select format('%s.%I', p.tmplnamespace::regnamespace, p.tmplname) from pg_ts_template p where p.oid = c.dicttemplate),
                  pg_get_userbyid(c.dictowner), c.dictinitoption)
      from pg_ts_dict c join ours o on o.oid = c.dictnamespace
     where not exists (select from member m where m.classid = 'pg_ts_dict'::regclass and m.objid = c.oid)
    union all
    select 'text search parser', format('%s.%I', p.prsnamespace::regnamespace, p.prsname),
           format('start %s, token %s, end %s, headline %s, types %s', p.prsstart, p.prstoken, p.prsend, p.prsheadline, p.prslextype)
      from pg_ts_parser p join ours o on o.oid = p.prsnamespace
     where not exists (select from member m where m.classid = 'pg_ts_parser'::regclass and m.objid = p.oid)
    union all
    select 'text search template', format('%s.%I', p.tmplnamespace::regnamespace, p.tmplname), format('init %s, lexize %s', p.tmplinit, p.tmpllexize)
      from pg_ts_template p join ours o on o.oid = p.tmplnamespace
     where not exists (select from member m where m.classid = 'pg_ts_template'::regclass and m.objid = p.oid)
    union all
    select 'transform', format('%s language %I', f.trftype::regtype, l.lanname),
           format('from SQL by %s, to SQL by %s', nullif(f.trffromsql, 0)::regprocedure, nullif(f.trftosql, 0)::regprocedure)
      from pg_transform f join pg_language l on l.oid = f.trflang
     where not exists (select from member m where m.classid = 'pg_transform'::regclass and m.objid = f.oid)
    union all
    select 'event trigger', quote_ident(e.evtname), format('on %s, tags %s, execute %s, enabled %s, owner %I', e.evtevent, e.evttags, e.evtfoid::regprocedure,
                                                            e.evtenabled, pg_get_userbyid(e.evtowner))
      from pg_event_trigger e
     where e.evtname !~ '^!?pgtide_[0-9a-f]{12}_'
       and not exists (select from member m where m.classid = 'pg_event_trigger'::regclass and m.objid = e.oid)
    union all
    select 'foreign data wrapper', quote_ident(fdwname),
           format('handler %s, validator %s, owner %I, options %s', nullif(fdwhandler, 0)::regprocedure, nullif(fdwvalidator, 0)::regprocedure, pg_get_userbyid(fdwowner),
                  array(select unnest(fdwoptions) collate "C" order by 1))
      from fdw
    union all
    select 'foreign server', quote_ident(s.srvname),
           format('wrapper %s, type %s, version %s, owner %I, options %s', (select fdwname from pg_foreign_data_wrapper w where w.oid = s.srvfdw), s.srvtype, s.srvversion,
                  pg_get_userbyid(s.srvowner), array(select unnest(s.srvoptions) collate "C" order by 1))
      from pg_foreign_server s
    union all
    select 'user mapping', format('%s on %I', case when m.umuser = 0 then 'public' else quote_ident(m.usename) end, m.srvname),
           case when $6::boolean then format('options %s', array(select split_part(o, '=', 1) || ': md5 ' || md5(o) from unnest(m.umoptions) o order by o collate "C"))
                else 'options not seen' end
      from pg_user_mappings m
    union all
    select 'language', quote_ident(lanname),
           format('trusted %s, owner %I, handler %s, inline %s, validator %s', lanpltrusted, pg_get_userbyid(lanowner), nullif(lanplcallfoid, 0)::regprocedure,
                  nullif(laninline, 0)::regprocedure, nullif(lanvalidator, 0)::regprocedure)
      from lang
    union all
    select 'publication', quote_ident(p.pubname),
           format('of %s%s%s%s, owner %I', concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
                                                       case when p.pubdelete then 'delete' end, case when $8::boolean and (p.more ->> 'pubtruncate')::bool then 'truncate' end),
                  case when p.puballtables then ', all tables' end, case when (p.more ->> 'pubviaroot')::bool then ', as their root' end,
                  ', generated columns ' || nullif(p.more ->> 'pubgencols', 'n'), pg_get_userbyid(p.pubowner))
      from pub p
    union all
    -- Row filters and lists of columns came with 15: before, the names mean the outer ones
    select 'publication table', format('%I: %s', p.pubname, r.name), m.definition
      from (select null::int2vector as prattrs, null::pg_node_tree as prqual) before_15
     cross join lateral (select t.prpubid, t.prrelid,
                                concat('columns ', coalesce((select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
                                                              where a.attrelid = t.prrelid and a.attnum = any (prattrs)), 'all'),
                                       ', rows ', coalesce(pg_get_expr(prqual, t.prrelid), 'all')) as definition
                           from pg_publication_rel t) m
      join pub p on p.oid = m.prpubid
      join rel r on r.oid = m.prrelid
    union all
    -- The catalog came with 15; what depends is told by all
    select 'publication schema', format('%I: %I', p.pubname, o.nspname), 'tables in schema'
      from pub p
      join pg_depend d on d.refclassid = 'pg_publication'::regclass and d.refobjid = p.oid and d.classid = to_regclass('pg_catalog.pg_publication_namespace')
      join pg_depend s on s.classid = d.classid and s.objid = d.objid and s.refclassid = 'pg_namespace'::regclass
      join ours o on o.oid = s.refobjid
     where $1::text[] is null
    union all
    select 'comment', i.type || ' ' || i.identity, d.description
      from pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
     where d.classoid not in ('pg_largeobject'::regclass, 'pg_subscription'::regclass) -- told with the objects themselves; not carried
       and (d.classoid <> 'pg_publication'::regclass or d.objoid in (select oid from pub))
       and (d.objoid >= 16384 or d.classoid = 'pg_namespace'::regclass and d.objoid in (select oid from ours))
       and not exists (select from member m where m.classid = d.classoid and m.objid = d.objoid)
       and coalesce(i.schema, '') not in ('pgtide', 'pg_toast')
       and i.identity !~ '^"?!?pgtide_[0-9a-f]{12}_'
       and i.type <> 'subscription'
       and ($1::text[] is null or (d.classoid, d.objoid) in (select 'pg_class'::regclass, oid from rel
                                                             union all select 'pg_publication'::regclass, oid from pub
                                                             union all select 'pg_class'::regclass, indexrelid from pg_index where indrelid in (select oid from rel)
                                                             union all select 'pg_constraint'::regclass, oid from pg_constraint where conrelid in (select oid from rel)
                                                             union all select 'pg_trigger'::regclass, oid from pg_trigger where tgrelid in (select oid from rel)
                                                             union all select 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class in (select oid from rel)
                                                             union all select 'pg_policy'::regclass, oid from pg_policy where polrelid in (select oid from rel)
                                                             union all select 'pg_statistic_ext'::regclass, oid from pg_statistic_ext where stxrelid in (select oid from rel)))
    union all
    select 'security label', i.type || ' ' || i.identity, format('%s: %s', l.provider, l.label)
      from pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i
    union all
    select 'grant', name, coalesce(string_agg(format('%s to %s by %s%s', privilege_type, coalesce(nullif(grantee, 0)::regrole::text, 'public'), grantor::regrole,
                                                     case when is_grantable then ' with grant option' end), ', '
                                              order by privilege_type collate "C", coalesce(nullif(grantee, 0)::regrole::text, 'public') collate "C", grantor::regrole::text collate "C"),
                                   'nothing')
      from acl
     where privilege_type is null or privilege_type <> all ($3::text[])
     group by name
    union all
    -- Whoever made the server owns what it came with, under any name
    select 'grant', 'standard ' || name,
           string_agg(format('%s%s to %s%s%s', change, privilege_type,
                             case grantee when 0 then 'public' when 10 then 'its owner' else grantee::regrole::text end,
                             ' by ' || nullif(grantor, 10)::regrole, case when is_grantable then ' with grant option' end), ', '
                      order by change collate "C", privilege_type collate "C", grantee::regrole::text collate "C", grantor::regrole::text collate "C")
      from touched
     where privilege_type <> all ($3::text[])
     group by name
)
select kind, identity, definition
  from found
 where $1::text[] is null
    or kind in ('table', 'view', 'materialized view', 'foreign table', 'parent', 'column', 'index', 'constraint', 'trigger', 'rule', 'policy',
                'statistics', 'sequence', 'comment', 'publication', 'publication table')
    or kind = 'grant' and identity ~ '^(table|sequence|column) '
 order by kind collate "C", identity collate "C", definition collate "C"
