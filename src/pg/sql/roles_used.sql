-- Roles that own (second column) or are granted something in this database, or on it, or have settings for it; $1: of these relations and their schemas only, null: all. What the first superuser owns is not in pg_shdepend.
select used.rolname, bool_or(used.is_owner)::text
  from (select r.rolname, d.deptype = 'o' as is_owner
          from pg_shdepend d
          join pg_roles r on r.oid = d.refobjid
         where d.refclassid = 'pg_authid'::regclass
           and (d.dbid = (select oid from pg_database where datname = current_database())
                or $1::oid[] is null and d.classid = 'pg_database'::regclass and d.deptype <> 'o'
                   and d.objid = (select oid from pg_database where datname = current_database()))
           and r.rolname not like 'pg\_%'
           and ($1::oid[] is null
                or d.classid = 'pg_class'::regclass and d.objid in (select unnest($1::oid[]))
                or d.classid = 'pg_namespace'::regclass and d.objid in (select relnamespace from pg_class where oid in (select unnest($1::oid[]))))
        union all
        select r.rolname, false
          from pg_db_role_setting s
          join pg_roles r on r.oid = s.setrole
         where $1::oid[] is null and s.setdatabase = (select oid from pg_database where datname = current_database())
        union all
        select r.rolname, true
          from pg_roles r
         where r.oid = 10
           and (exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                         where c.relowner = 10 and c.oid >= 16384
                           and ($1::oid[] is null or c.oid in (select unnest($1::oid[])))
                           and n.nspname not in ('pg_toast', 'information_schema', 'pgtide')
                           and n.nspname not like 'pg\_temp\_%')
                or $1::oid[] is null and exists (select from pg_largeobject_metadata where lomowner = 10)
                or $1::oid[] is null and exists (select from pg_proc where proowner = 10 and oid >= 16384)
                or $1::oid[] is null and exists (select from pg_namespace where nspowner = 10 and oid >= 16384 and nspname <> 'pgtide'
                                                      and nspname not like 'pg\_%'))) used
 group by 1
 order by 1
