-- A page of large objects behind oid $1: oid, and the statements that give it its owner, comment and rights.
select m.oid::text,
       format('ALTER LARGE OBJECT %s OWNER TO %I;', m.oid, pg_get_userbyid(m.lomowner))
       || coalesce(e'\n' || format('COMMENT ON LARGE OBJECT %s IS %L;', m.oid, obj_description(m.oid, 'pg_largeobject')), '')
       || coalesce((select string_agg(e'\n' || format('GRANT %s ON LARGE OBJECT %s TO %s%s;', a.privilege_type, m.oid,
                                                      case when a.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(a.grantee)) end,
                                                      case when a.is_grantable then ' WITH GRANT OPTION' else '' end),
                                      '' order by a.grantee::regrole::text collate "C", a.privilege_type)
                      from aclexplode(m.lomacl) a where a.grantee <> m.lomowner), '')
  from pg_largeobject_metadata m
 where m.oid > $1::oid
 order by m.oid
 limit $2::int
