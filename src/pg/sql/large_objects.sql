-- A page of large objects behind oid $1: oid, the statements that give it its owner, comment and rights, and those that take comment and rights from it;
-- the owner whose rights the user does not inherit, and whether it can become that one.
-- Rights are given in the order of the list, so who grants has the right to; who is no superuser gives them all as the owner.
select m.oid::text,
       format('ALTER LARGE OBJECT %s OWNER TO %I;', m.oid, pg_get_userbyid(m.lomowner))
       || coalesce(e'\n' || format('COMMENT ON LARGE OBJECT %s IS %L;', m.oid, obj_description(m.oid, 'pg_largeobject')), '')
       -- What the owner has taken from itself
       || coalesce((select string_agg(e'\n' || format('REVOKE %s ON LARGE OBJECT %s FROM %I;', d.privilege_type, m.oid, pg_get_userbyid(m.lomowner)), '' order by d.privilege_type)
                      from aclexplode(acldefault('L', m.lomowner)) d
                     where m.lomacl is not null and d.grantee = m.lomowner
                       and not exists (select from aclexplode(m.lomacl) a where a.grantee = d.grantee and a.privilege_type = d.privilege_type)), '')
       || coalesce((select string_agg(case when a.grantor <> m.lomowner then format(e'\nSET SESSION AUTHORIZATION %I;', pg_get_userbyid(a.grantor)) else '' end
                                      || e'\n' || format('GRANT %s ON LARGE OBJECT %s TO %s%s;', a.privilege_type, m.oid,
                                                         case when a.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(a.grantee)) end,
                                                         case when a.is_grantable then ' WITH GRANT OPTION' else '' end)
                                      || case when a.grantor <> m.lomowner then e'\nRESET SESSION AUTHORIZATION;' else '' end,
                                      '' order by a.n)
                      from aclexplode(m.lomacl) with ordinality as a(grantor, grantee, privilege_type, is_grantable, n) where a.grantee <> m.lomowner), ''),
       case when obj_description(m.oid, 'pg_largeobject') is not null then format(e'COMMENT ON LARGE OBJECT %s IS NULL;\n', m.oid) else '' end
       || coalesce((select string_agg(distinct format(e'REVOKE ALL ON LARGE OBJECT %s FROM %s CASCADE;\n', m.oid,
                                                      case when a.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(a.grantee)) end), '')
                      from aclexplode(m.lomacl) a where a.grantee <> m.lomowner), '')
       -- What the owner has taken from itself it has again
       || case when m.lomacl is not null then format(e'GRANT ALL ON LARGE OBJECT %s TO %I;\n', m.oid, pg_get_userbyid(m.lomowner)) else '' end,
       case when not pg_has_role(m.lomowner, 'USAGE') then pg_get_userbyid(m.lomowner) end,
       (case when current_setting('server_version_num')::int >= 160000 then pg_has_role(m.lomowner, 'SET') else pg_has_role(m.lomowner, 'MEMBER') end)::text
  from pg_largeobject_metadata m
 where m.oid > $1::oid
 order by m.oid
 limit $2::int
