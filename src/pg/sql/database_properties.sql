-- What belongs to this database but is in no dump of its objects, as statements for a database named $1::text, with the role and the setting concerned, and who granted in
-- the place of the owner (or null).
-- Not default_transaction_read_only: on a source it says that writing has ended there (a cutover's freeze), not how its copy should be.
with db as (
    select d.oid, d.datname, d.datdba, d.datacl, d.datconnlimit, d.datistemplate from pg_database d where d.datname = current_database()
), setting as (
    select s.setrole, c.n, split_part(c.text, '=', 1) as name, substr(c.text, strpos(c.text, '=') + 1) as value
      from db join pg_db_role_setting s on s.setdatabase = db.oid cross join unnest(s.setconfig) with ordinality as c(text, n)
), said as (
    select s.*, quote_ident(s.name) || ' TO '
           -- These are lists of names; the stored text is what SET takes
           || case when lower(s.name) in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces') and s.value <> ''
                   then regexp_replace(s.value, '(^|, )""(?=, |$)', '\1''''', 'g') -- an empty name
                   else quote_literal(s.value) end as text
      from setting s
), statement(place, n, text, role, setting, grantor) as (
    select 1, 0, format('COMMENT ON DATABASE %I IS %L', $1::text, shobj_description(db.oid, 'pg_database')), null::name, null::text, null::name
      from db where shobj_description(db.oid, 'pg_database') is not null
    union all
    select 2, 0, format('ALTER DATABASE %I CONNECTION LIMIT %s', $1::text, db.datconnlimit), null, null, null from db where db.datconnlimit <> -1
    union all
    select 3, said.n, format('ALTER DATABASE %I SET %s', $1::text, said.text), null, said.name, null from said
     where said.setrole = 0 and said.name <> 'default_transaction_read_only'
    union all
    select 4, said.n, format('ALTER ROLE %I IN DATABASE %I SET %s', r.rolname, $1::text, said.text), r.rolname, said.name, null
      from said join pg_roles r on r.oid = said.setrole
    union all
    select 5, 0, format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1::text), null, null, null from db where db.datacl is not null
    union all
    select 6, a.n, format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $1,
                     case when a.grantee = 0 then 'PUBLIC' else quote_ident(r.rolname) end,
                     case when a.is_grantable then ' WITH GRANT OPTION' else '' end), r.rolname, null,
           case when a.grantor <> db.datdba then (select g.rolname from pg_roles g where g.oid = a.grantor) end
      from db cross join aclexplode(db.datacl) with ordinality as a(grantor, grantee, privilege_type, is_grantable, n) left join pg_roles r on r.oid = a.grantee
     where a.grantee <> db.datdba and (a.grantee = 0 or r.oid is not null)
    union all
    select 7, 0, format('ALTER DATABASE %I IS_TEMPLATE true', $1::text), null, null, null from db where db.datistemplate
)
select text, role::text, setting, grantor::text from statement order by place, case place when 4 then role::text collate "C" end, n
