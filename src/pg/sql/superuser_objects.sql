-- What only a superuser can create, as "kind name". Not what extensions bring. 10 to 18.
select o.text
  from (select 'event trigger ' || quote_ident(evtname), 'pg_event_trigger'::regclass, oid
          from pg_event_trigger where evtname not like 'pgtide%'
        union all
        select 'function ' || p.oid::regprocedure || ' in language ' || l.lanname, 'pg_proc'::regclass, p.oid
          from pg_proc p join pg_language l on l.oid = p.prolang
         where not l.lanpltrusted and p.oid >= 16384
           -- Anybody may make range types and aggregates (without a state of type internal), which have functions "in language internal"
           and not exists (select from pg_aggregate a
                            where a.aggfnoid = p.oid and a.aggtranstype <> 'internal'::regtype and a.aggmtranstype <> 'internal'::regtype)
           and not exists (select from pg_depend i where i.classid = 'pg_proc'::regclass and i.objid = p.oid and i.deptype = 'i' and i.refclassid = 'pg_type'::regclass)
        union all
        select 'leakproof function ' || p.oid::regprocedure, 'pg_proc'::regclass, p.oid
          from pg_proc p join pg_language l on l.oid = p.prolang
         where p.proleakproof and l.lanpltrusted and p.oid >= 16384
        union all
        select 'function ' || p.oid::regprocedure || ' with a support function', 'pg_proc'::regclass, p.oid
          from pg_proc p where p.oid >= 16384 and coalesce(to_jsonb(p) ->> 'prosupport', '-') <> '-'
        union all
        -- Of these it is asked which may be set
        select 'function ' || p.oid::regprocedure || ' sets ' || split_part(c, '=', 1), 'pg_proc'::regclass, p.oid
          from pg_proc p cross join unnest(p.proconfig) c where p.oid >= 16384 and split_part(c, '=', 1) = any ($1::text[])
        union all
        select 'language ' || quote_ident(lanname), 'pg_language'::regclass, oid from pg_language where oid >= 16384
        union all
        select 'base type ' || t.oid::regtype, 'pg_type'::regclass, t.oid
          from pg_type t
         where t.typtype = 'b' and t.oid >= 16384 and not exists (select from pg_type e where e.typarray = t.oid)
        union all
        select 'shell type ' || t.oid::regtype, 'pg_type'::regclass, t.oid from pg_type t where not t.typisdefined and t.oid >= 16384
        union all
        select 'cast from ' || castsource::regtype || ' to ' || casttarget::regtype || ' without function', 'pg_cast'::regclass, oid
          from pg_cast where castmethod = 'b' and oid >= 16384
        union all
        select 'operator family ' || quote_ident(opfname), 'pg_opfamily'::regclass, oid from pg_opfamily where oid >= 16384
        union all
        select 'access method ' || quote_ident(amname), 'pg_am'::regclass, oid from pg_am where oid >= 16384
        union all
        select 'foreign-data wrapper ' || quote_ident(fdwname), 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
        union all
        select 'text search parser ' || quote_ident(prsname), 'pg_ts_parser'::regclass, oid from pg_ts_parser where oid >= 16384
        union all
        select 'text search template ' || quote_ident(tmplname), 'pg_ts_template'::regclass, oid
          from pg_ts_template where oid >= 16384) as o(text, class, oid)
 where not exists (select from pg_depend d where d.classid = o.class and d.objid = o.oid and d.deptype = 'e')
 order by 1
