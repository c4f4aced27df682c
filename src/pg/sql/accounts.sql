-- What the server knows of roles: the roles, their memberships, settings and comments. For each what it is compared by (kind, identity, definition), the
-- role that it is about, the statement that makes it (null for a role, and for a setting in this database, which comes with the database), and what
-- else is needed to judge it: the group of a membership, the name of a setting, the attributes of a role.
-- $1: both servers know INHERIT and SET of a membership (16 on). $2: in an order in which it can be made, else in that of the comparison.
-- What is raised on no target is asked, too: the remark says that it stays behind.
with membership as (
    select m.rolname as member, g.rolname as "group", bool_or(a.admin_option) as admin,
           bool_or((to_jsonb(a) ->> 'inherit_option')::boolean) as inherit, bool_or((to_jsonb(a) ->> 'set_option')::boolean) as set
      from pg_auth_members a
      join pg_roles m on m.oid = a.member
      join pg_roles g on g.oid = a.roleid
     group by 1, 2
), setting as (
    select r.rolname, s.setdatabase <> 0 as is_of_database, c.n, c.text, split_part(c.text, '=', 1) as name, substr(c.text, strpos(c.text, '=') + 1) as value
      from pg_db_role_setting s
      join pg_roles r on r.oid = s.setrole
      cross join unnest(s.setconfig) with ordinality as c(text, n)
     where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
), found(kind, identity, definition, role, statement, subject, n, superuser, replication, bypassrls, login, createdb, attributes) as (
    select 'role', quote_ident(r.rolname),
           format('superuser %s, inherit %s, create roles %s, create databases %s, login %s, replication %s, bypass row security %s, connections %s, valid until %s',
                  r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit,
                  coalesce(r.rolvaliduntil::text, 'for ever')),
           r.rolname, null, null::text, 0::bigint, r.rolsuper, r.rolreplication, r.rolbypassrls, r.rolcanlogin, r.rolcreatedb,
           format('%s %s %s CONNECTION LIMIT %s%s',
                  case when r.rolinherit then 'INHERIT' else 'NOINHERIT' end,
                  case when r.rolcreaterole then 'CREATEROLE' else 'NOCREATEROLE' end,
                  'NOSUPERUSER NOREPLICATION NOBYPASSRLS', r.rolconnlimit,
                  case when r.rolvaliduntil is not null then format(' VALID UNTIL %L', r.rolvaliduntil::text) else '' end)
      from pg_roles r
    union all
    select 'membership', format('%I in %I', member, "group"),
           format('admin %s', admin) || case when $1::boolean and inherit is not null then format(', inherit %s, set %s', inherit, set) else '' end, member,
           format('GRANT %I TO %I%s', "group", member,
                  case when $1::boolean and inherit is not null then format(' WITH ADMIN %s, INHERIT %s, SET %s', admin, inherit, set)
                       when admin then ' WITH ADMIN OPTION' else '' end),
           "group"::text, 0, null, null, null, null, null, null
      from membership
    union all
    select 'setting', format('%I%s: %s', rolname, case when is_of_database then ' in this database' else '' end, name), text, rolname,
           -- The stored text of a list of names is what SET takes
           case when not is_of_database then
                format('ALTER ROLE %I SET %I TO %s', rolname, name,
                       case when lower(name) in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces') and value <> ''
                            then regexp_replace(value, '(^|, )""(?=, |$)', '\1''''', 'g') -- an empty name
                            else quote_literal(value) end) end,
           name, n, null, null, null, null, null, null
      from setting
    union all
    select 'comment', quote_ident(r.rolname), d.description, r.rolname, format('COMMENT ON ROLE %I IS %L', r.rolname, d.description), null, 0,
           null, null, null, null, null, null
      from pg_roles r
      join pg_shdescription d on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass
)
select kind, identity, definition, role::text, statement, subject, superuser::text, replication::text, bypassrls::text, login::text, createdb::text, attributes
  from found
 order by kind collate "C", case when $2::boolean then role::text collate "C" end, case when $2::boolean then n end, identity collate "C", definition collate "C"
