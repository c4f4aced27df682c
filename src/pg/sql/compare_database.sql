-- What belongs to this database itself and is carried: (kind, identity, definition), under names that do not say what it is called. Not its owner and
-- locale, which a target that was there before has of its own; rights without who gave them, as the copy gives them all in the owner's name. Not
-- default_transaction_read_only: on a source it says that writing has ended there.
with db as (
    select d.oid, d.datdba, d.datacl, d.datconnlimit from pg_database d where d.datname = current_database()
), found(kind, identity, definition) as (
    select 'database', 'connections', db.datconnlimit::text from db
    union all
    select 'database', 'comment', shobj_description(db.oid, 'pg_database') from db where shobj_description(db.oid, 'pg_database') is not null
    union all
    select 'database', 'setting ' || quote_ident(split_part(c.text, '=', 1)), substr(c.text, strpos(c.text, '=') + 1)
      from db join pg_db_role_setting s on s.setdatabase = db.oid and s.setrole = 0 cross join unnest(s.setconfig) c(text)
     where split_part(c.text, '=', 1) <> 'default_transaction_read_only'
    union all
    select 'database', 'rights of ' || grantee, string_agg(right_of, ', ' order by right_of collate "C")
      from (select coalesce(nullif(a.grantee, 0)::regrole::text, 'public') as grantee,
                   a.privilege_type || case when bool_or(a.is_grantable) then ' with grant option' else '' end as right_of
              from db, aclexplode(coalesce(db.datacl, acldefault('d', db.datdba))) a
             where a.grantee <> db.datdba
             group by a.grantee, a.privilege_type) g
     group by grantee
    union all
    select 'database', 'security label', format('%s: %s', l.provider, l.label)
      from db join pg_shseclabel l on l.classoid = 'pg_database'::regclass and l.objoid = db.oid
)
select kind, identity, definition from found order by kind collate "C", identity collate "C", definition collate "C"
