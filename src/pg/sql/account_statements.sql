-- Memberships, settings and comments of roles as statements, each with the role that it is about and, for memberships, the group. $1: the target knows INHERIT and SET
-- of a membership (16 on). Settings in a database come with the database.
with membership as (
    select m.rolname as member, g.rolname as "group", bool_or(a.admin_option) as admin,
           bool_or((to_jsonb(a) ->> 'inherit_option')::boolean) as inherit, bool_or((to_jsonb(a) ->> 'set_option')::boolean) as set
      from pg_auth_members a
      join pg_roles m on m.oid = a.member
      join pg_roles g on g.oid = a.roleid
     group by 1, 2
), setting as (
    select r.rolname, c.n, split_part(c.text, '=', 1) as name, substr(c.text, strpos(c.text, '=') + 1) as value
      from pg_db_role_setting s
      join pg_roles r on r.oid = s.setrole
      cross join unnest(s.setconfig) with ordinality as c(text, n)
     where s.setdatabase = 0
), statement(place, text, role, "group", n) as (
    select 1, format('GRANT %I TO %I%s', "group", member,
                     case when $1::boolean and inherit is not null then format(' WITH ADMIN %s, INHERIT %s, SET %s', admin, inherit, set)
                          when admin then ' WITH ADMIN OPTION' else '' end), member, "group", 0
      from membership
    union all
    -- The stored text of a list of names is what SET takes
    select 2, format('ALTER ROLE %I SET %I TO %s', rolname, name,
                     case when lower(name) in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces') and value <> ''
                          then value else quote_literal(value) end), rolname, null, n
      from setting
    union all
    select 3, format('COMMENT ON ROLE %I IS %L', r.rolname, d.description), r.rolname, null, 0
      from pg_roles r
      join pg_shdescription d on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass
)
select text, role::text, "group"::text from statement order by place, role::text collate "C", "group"::text collate "C", n
