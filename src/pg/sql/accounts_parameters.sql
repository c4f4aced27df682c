-- Since 15. Rights on parameters, as rows of accounts.sql; $1: in an order in which they can be given, else in that of the comparison. Who made the server (10)
-- may do everything anyway. What everybody may set belongs to no role, and nothing gives it on a server that others use, too.
with given as (
    select r.rolname, p.parname, g.privilege_type, bool_or(g.is_grantable) as is_grantable
      from pg_parameter_acl p cross join aclexplode(p.paracl) g left join pg_roles r on r.oid = g.grantee
     where g.grantee <> 10
     group by 1, 2, 3
)
select 'parameter', format('%s on %s', coalesce(quote_ident(rolname), 'public'), parname),
       string_agg(privilege_type || case when is_grantable then ' with grant option' else '' end, ', ' order by privilege_type),
       rolname::text,
       string_agg('GRANT ' || privilege_type || ' ON PARAMETER ' || parname || ' TO ' || quote_ident(rolname)
                  || case when is_grantable then ' WITH GRANT OPTION' else '' end, '; ' order by privilege_type),
       parname, null, null, null, null, null, null
  from given
 group by rolname, parname
 order by case when $1::boolean then rolname::text end collate "C", format('%s on %s', coalesce(quote_ident(rolname), 'public'), parname) collate "C"
