-- A page of large objects behind oid $1, at most $2 of them, with what belongs to each but its contents. Rights that were never granted are
-- those that the owner has anyway, written down or not.
select m.oid::text,
       format('owner %I, rights: %s%s', pg_get_userbyid(m.lomowner),
              coalesce((select string_agg(format('%s to %s by %s%s', a.privilege_type, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'), a.grantor::regrole,
                                                 case when a.is_grantable then ' with grant option' end), ', '
                                          order by a.privilege_type collate "C", coalesce(nullif(a.grantee, 0)::regrole::text, 'public') collate "C",
                                                   a.grantor::regrole::text collate "C")
                          from aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a), 'none'),
              ', comment ' || quote_literal(obj_description(m.oid, 'pg_largeobject')))
  from (select oid, lomowner, lomacl from pg_largeobject_metadata where oid > $1::oid order by oid limit $2::int) m
 order by m.oid
