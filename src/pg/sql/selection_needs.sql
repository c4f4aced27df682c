-- What the relations $1 need: other relations (owner, why, oid, is a foreign key) and, with owner 0, extensions (name). From each relation and
-- what belongs to it pg_depend is followed through types, functions and whatever else comes along by itself, up to the next relation.
with recursive chosen(oid) as (
    select unnest($1::oid[])
), part(owner, what, class, object) as (
    select oid, 'itself', 'pg_class'::regclass::oid, oid from chosen
    union all
    select d.adrelid, format('default of column %I', a.attname), 'pg_attrdef'::regclass, d.oid
      from pg_attrdef d
      join chosen on chosen.oid = d.adrelid
      join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    union all
    select c.conrelid, format('%s %I', case c.contype when 'f' then 'foreign key' else 'constraint' end, c.conname),
           'pg_constraint'::regclass, c.oid
      from pg_constraint c
      join chosen on chosen.oid = c.conrelid
     where coalesce(to_jsonb(c) ->> 'conparentid', '0') = '0'
    union all
    select t.tgrelid, format('trigger %I', t.tgname), 'pg_trigger'::regclass, t.oid
      from pg_trigger t
      join chosen on chosen.oid = t.tgrelid
     where not t.tgisinternal
    union all
    select r.ev_class, case r.rulename when '_RETURN' then 'its query' else format('rule %I', r.rulename) end, 'pg_rewrite'::regclass, r.oid
      from pg_rewrite r
      join chosen on chosen.oid = r.ev_class
    union all
    select p.polrelid, format('policy %I', p.polname), 'pg_policy'::regclass, p.oid
      from pg_policy p
      join chosen on chosen.oid = p.polrelid
    union all
    select i.indrelid, format('index %I', c.relname), 'pg_class'::regclass, c.oid
      from pg_index i
      join chosen on chosen.oid = i.indrelid
      join pg_class c on c.oid = i.indexrelid
), needs(owner, what, class, object, is_end) as (
    select owner, what, class, object, false from part
    union
    select n.owner, n.what, d.refclassid, d.refobjid, coalesce(c.relkind in ('r', 'p', 'v', 'm', 'S', 'f'), false)
      from needs n
      join pg_depend d on d.classid = n.class and d.objid = n.object
      left join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
      left join pg_class s on d.deptype = 'a' and n.class = 'pg_class'::regclass and s.oid = n.object and s.relkind = 'S'
     where not n.is_end
       and s.oid is null -- whom a sequence belongs to is no need
       and d.deptype <> 'e'
       and d.refobjid >= 16384
       and not (d.refclassid = 'pg_class'::regclass and d.refobjid = n.owner)
)
select n.owner::text, n.what,
       n.object::text, (n.what like 'foreign key %')::text
  from needs n
  join pg_class c on c.oid = n.object
 where n.is_end
   and not exists (select from chosen where chosen.oid = n.object)
   and not exists (select from pg_depend e where e.classid = n.class and e.objid = n.object and e.deptype = 'e')
union
select '0', '', e.extname, 'false'
  from needs n
  join pg_depend d on d.classid = n.class and d.objid = n.object and d.deptype = 'e'
  join pg_extension e on e.oid = d.refobjid
 order by 1, 3, 2
