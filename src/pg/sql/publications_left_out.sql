-- What of the publications does not come, with the reason, as lines. $1: of these relations only (null: all), which leaves whole schemas and
-- publications of others out; $2: the target's version; $3: its user is a superuser. Nothing that is pgtide's. 10 to 18.
with pub as (
    select p.oid, p.puballtables, 'publication ' || quote_ident(p.pubname) as name, to_jsonb(p) as more,
           $1::oid[] is null
           or not p.puballtables and exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = any ($1::oid[])) as comes
      from pg_publication p
     where p.pubname !~ '^pgtide_[0-9a-f]{12}(_inserts|_renamed)?$'
), member as (
    select p.name, p.comes, r.prrelid, 'table ' || r.prrelid::regclass || ' of ' || p.name as of_table,
           coalesce(to_jsonb(r) ->> 'prattrs', to_jsonb(r) ->> 'prqual') is not null as is_part
      from pub p join pg_publication_rel r on r.prpubid = p.oid
), schema as ( -- the catalog came with 15; what depends is told by all
    select p.name, p.comes, 'schema ' || s.refobjid::regnamespace || ' of ' || p.name as of_schema
      from pub p
      join pg_depend d on d.refclassid = 'pg_publication'::regclass and d.refobjid = p.oid and d.classid = to_regclass('pg_catalog.pg_publication_namespace')
      join pg_depend s on s.classid = d.classid and s.objid = d.objid and s.refclassid = 'pg_namespace'::regclass
)
select x.text
  from (select name || ': it publishes all tables, and only some are selected' as text from pub where puballtables and not comes
        union all
        select of_schema || ': only some tables are selected' from schema where $1::oid[] is not null
        union all
        select of_table || ': it is not selected' from member where comes and $1::oid[] is not null and prrelid <> all ($1::oid[])
        union all
        select name || ': only a superuser may publish all tables' from pub where comes and puballtables and not $3::boolean
        union all
        select of_schema || ': only a superuser may publish whole schemas' from schema where $1::oid[] is null and not $3::boolean
        union all
        select name || ': PostgreSQL ' || old.major || ' knows no publication of ' || old.what
          from pub,
               lateral (values (11, 'truncate', (more ->> 'pubtruncate')::boolean),
                               (13, 'partitions as their root', (more ->> 'pubviaroot')::boolean),
                               (18, 'generated columns', more ->> 'pubgencols' <> 'n')) said(since, what, is_said),
               lateral (select $2::int / 10000 as major, said.what) old
         where comes and is_said and old.major < since
        union all
        select of_table || ': its columns or rows cannot be chosen before PostgreSQL 15' from member
         where comes and is_part and $2::int < 150000 and ($1::oid[] is null or prrelid = any ($1::oid[]))
        union all
        select of_schema || ': whole schemas cannot be published before PostgreSQL 15' from schema
         where $1::oid[] is null and $3::boolean and $2::int < 150000) x
 order by x.text collate "C"
