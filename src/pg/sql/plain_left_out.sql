-- What a target user who is no superuser may have to leave out: (text, kind, role or extension). Rights are granted by the owner instead of another who was allowed to;
-- default privileges of a role need membership in it; the comment of an extension needs its owner.
-- $1: of these relations and their schemas only, null: all. Not what extensions bring. 10 to 18.
with acl(what, acl, owner, class, oid) as (
    select case when relkind = 'S' then 'sequence ' else 'table ' end || oid::regclass, relacl, relowner, 'pg_class'::regclass, oid from pg_class
    union all
    select format('column %I of table %s', a.attname, a.attrelid::regclass), a.attacl, c.relowner, 'pg_class'::regclass, c.oid
      from pg_attribute a join pg_class c on c.oid = a.attrelid where a.attacl is not null and not a.attisdropped
    union all
    select format('schema %I', nspname), nspacl, nspowner, 'pg_namespace'::regclass, oid from pg_namespace
    union all
    select format('function %s', oid::regprocedure), proacl, proowner, 'pg_proc'::regclass, oid from pg_proc
    union all
    select format('type %s', oid::regtype), typacl, typowner, 'pg_type'::regclass, oid from pg_type
    union all
    select format('language %I', lanname), lanacl, lanowner, 'pg_language'::regclass, oid from pg_language
    union all
    select format('foreign-data wrapper %I', fdwname), fdwacl, fdwowner, 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
    union all
    select format('server %I', srvname), srvacl, srvowner, 'pg_foreign_server'::regclass, oid from pg_foreign_server
    union all
    select format('large object %s', oid), lomacl, lomowner, 'pg_largeobject'::regclass, oid from pg_largeobject_metadata
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
           and not exists (select from pg_depend d where d.classid = a.class and d.objid = a.oid and d.deptype = 'e')
        union all
        select distinct format('default privileges of role "%s"', r.rolname), 'default privileges', r.rolname::text
          from pg_default_acl d join pg_roles r on r.oid = d.defaclrole where $1::oid[] is null
        union all
        select format('comment of extension "%s": %s', e.extname, d.description), 'comment', e.extname::text
          from pg_extension e join pg_description d on d.classoid = 'pg_extension'::regclass and d.objoid = e.oid where e.oid >= 16384) as left_out
 order by left_out.text collate "C"
