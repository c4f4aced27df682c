-- Into pgtide.chosen_@: the relations $1, what belongs to them, and what these need that is no relation. $2: also the publications that name them.
with recursive chosen(oid) as (
    select unnest($1::oid[])
), part(class, object) as (
    select 'pg_class'::regclass::oid, oid from chosen
    union all select 'pg_class'::regclass, i.indexrelid from pg_index i join chosen on i.indrelid = chosen.oid
    union all select 'pg_attrdef'::regclass, d.oid from pg_attrdef d join chosen on d.adrelid = chosen.oid
    union all select 'pg_constraint'::regclass, c.oid from pg_constraint c join chosen on c.conrelid = chosen.oid
    union all select 'pg_trigger'::regclass, t.oid from pg_trigger t join chosen on t.tgrelid = chosen.oid
    union all select 'pg_policy'::regclass, p.oid from pg_policy p join chosen on p.polrelid = chosen.oid
    union all select 'pg_rewrite'::regclass, r.oid from pg_rewrite r join chosen on r.ev_class = chosen.oid
    union all select 'pg_statistic_ext'::regclass, s.oid from pg_statistic_ext s join chosen on s.stxrelid = chosen.oid
    union all select 'pg_publication_rel'::regclass, r.oid
                from pg_publication_rel r
                join chosen on r.prrelid = chosen.oid
                join pg_publication p on p.oid = r.prpubid
               where $2::boolean and p.pubname !~ '^pgtide_[0-9a-f]{12}(_inserts|_renamed)?$'
), all_of_it(class, object) as (
    select class, object from part
    union
    select d.refclassid, d.refobjid
      from all_of_it n
      join pg_depend d on d.classid = n.class and d.objid = n.object
      left join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
     where d.refobjid >= 16384
       and (c.oid is null or c.relkind = 'c')
)
insert into pgtide.chosen_@ select class, object from all_of_it on conflict do nothing
