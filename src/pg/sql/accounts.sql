-- The roles of the server with what CREATE ROLE needs of them. What is raised on no target is asked, too: the remark says that it stays behind.
select r.rolname::text,
       r.rolsuper::text,
       r.rolreplication::text,
       r.rolbypassrls::text,
       r.rolcanlogin::text,
       r.rolcreatedb::text,
       format('%s %s %s CONNECTION LIMIT %s%s',
              case when r.rolinherit then 'INHERIT' else 'NOINHERIT' end,
              case when r.rolcreaterole then 'CREATEROLE' else 'NOCREATEROLE' end,
              'NOSUPERUSER NOREPLICATION NOBYPASSRLS', r.rolconnlimit,
              case when r.rolvaliduntil is not null then format(' VALID UNTIL %L', r.rolvaliduntil::text) else '' end)
  from pg_roles r
 order by r.rolname::text collate "C"
