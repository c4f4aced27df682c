-- What a target user who is no superuser may have to leave out: (text, kind, role or extension). Rights are granted by the owner instead of another who was allowed to;
-- those on what belongs to the system or an extension by nobody; default privileges of a role need membership in it; the comment of an extension needs its owner.
-- $1: of these relations and their schemas only, null: all. 10 to 18.
with acl(what, acl, owner, type, class, oid, subid, schema) as (
    select case when relkind = 'S' then 'sequence ' else 'table ' end || oid::regclass, relacl, relowner, case when relkind = 'S' then 's' else 'r' end, 'pg_class'::regclass, oid, 0, relnamespace from pg_class
    union all
    select format('column %I of table %s', a.attname, a.attrelid::regclass), a.attacl, c.relowner, 'c', 'pg_class'::regclass, c.oid, a.attnum, c.relnamespace
      from pg_attribute a join pg_class c on c.oid = a.attrelid where a.attacl is not null and not a.attisdropped
    union all
    select format('schema %I', nspname), nspacl, nspowner, 'n', 'pg_namespace'::regclass, oid, 0, oid from pg_namespace
    union all
    select format('function %s', oid::regprocedure), proacl, proowner, 'f', 'pg_proc'::regclass, oid, 0, pronamespace from pg_proc where proacl is not null
    union all
    select format('type %s', oid::regtype), typacl, typowner, 'T', 'pg_type'::regclass, oid, 0, typnamespace from pg_type where typacl is not null
    union all
    select format('language %I', lanname), lanacl, lanowner, 'l', 'pg_language'::regclass, oid, 0, 'pg_catalog'::regnamespace from pg_language
    union all
    select format('foreign-data wrapper %I', fdwname), fdwacl, fdwowner, 'F', 'pg_foreign_data_wrapper'::regclass, oid, 0, 0 from pg_foreign_data_wrapper
    union all
    select format('server %I', srvname), srvacl, srvowner, 'S', 'pg_foreign_server'::regclass, oid, 0, 0 from pg_foreign_server
    union all
    select format('database %I', datname), datacl, datdba, 'd', 'pg_database'::regclass, oid, 0, 0 from pg_database where datname = current_database()
    union all
    select format('large object %s', oid), lomacl, lomowner, 'L', 'pg_largeobject'::regclass, oid, 0, 0 from pg_largeobject_metadata
), others(class, oid) as ( -- of an extension, or the system's
    select classid, objid from pg_depend where deptype = 'e'
    union all
    select class, oid from acl where oid < 16384 and acl is not null and schema = 'pg_catalog'::regnamespace
)
select left_out.text, left_out.kind, left_out.role
  from (select format('that "%s" granted rights on %s: its owner does', r.rolname, a.what) as text, 'grantor' as kind, r.rolname::text as role
          from acl a
          cross join lateral (select distinct grantor from aclexplode(a.acl)) g
          join pg_roles r on r.oid = g.grantor
         where a.acl is not null and g.grantor <> a.owner
           and ($1::oid[] is null
                or a.class = 'pg_class'::regclass and a.oid in (select unnest($1::oid[]))
                or a.class = 'pg_namespace'::regclass and a.oid in (select relnamespace from pg_class where oid in (select unnest($1::oid[]))))
           and not exists (select from others o where o.class = a.class and o.oid = a.oid)
        union all
        select format('rights on %s, which belongs to the system or an extension', a.what), 'rights', null
          from acl a
          left join pg_init_privs i on i.classoid = a.class and i.objoid = a.oid and i.objsubid = a.subid
         where a.acl is not null and $1::oid[] is null
           and exists (select from others o where o.class = a.class and o.oid = a.oid)
           and (select array_agg(x::text order by x::text collate "C") from unnest(a.acl) x)
               is distinct from (select array_agg(x::text order by x::text collate "C") from unnest(coalesce(i.initprivs, acldefault(a.type::"char", a.owner))) x)
        union all
        select distinct format('default privileges of role "%s"', r.rolname), 'default privileges', r.rolname::text
          from pg_default_acl d join pg_roles r on r.oid = d.defaclrole where $1::oid[] is null
        union all
        select format('comment of extension "%s": %s', e.extname, d.description), 'comment', e.extname::text
          from pg_extension e join pg_description d on d.classoid = 'pg_extension'::regclass and d.objoid = e.oid where e.oid >= 16384) as left_out
 order by left_out.text collate "C"
