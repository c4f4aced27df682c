-- The roles of the server with their attributes, memberships and settings: (kind, identity, definition, role).
select kind, identity, definition, role
  from (select 'role', quote_ident(r.rolname),
               format('superuser %s, inherit %s, create roles %s, create databases %s, login %s, replication %s, bypass row security %s, connections %s, valid until %s',
                      r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit,
                      coalesce(r.rolvaliduntil::text, 'for ever')), r.rolname::text
          from pg_roles r
         where r.rolname !~ '^pg_'
        union all
        select 'membership', format('%I in %I', m.rolname, g.rolname), format('admin %s', bool_or(a.admin_option)), m.rolname::text
          from pg_auth_members a
          join pg_roles m on m.oid = a.member
          join pg_roles g on g.oid = a.roleid
         where m.rolname !~ '^pg_'
         group by m.rolname, g.rolname
        union all
        select 'setting', format('%I%s: %s', r.rolname, case when s.setdatabase <> 0 then ' in this database' else '' end, split_part(c, '=', 1)), c, r.rolname::text
          from pg_db_role_setting s
          join pg_roles r on r.oid = s.setrole
          cross join unnest(s.setconfig) c
         where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
        union all
        select 'comment', quote_ident(r.rolname), d.description, r.rolname::text
          from pg_roles r
          join pg_shdescription d on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass
         where r.rolname !~ '^pg_') found(kind, identity, definition, role)
 order by kind collate "C", identity collate "C", definition collate "C"
