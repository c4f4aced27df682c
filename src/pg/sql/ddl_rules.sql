-- Into pgtide.rules_@, in their order: whether each leaves out ($1), patterns of schema ($2) and name ($3). They stay what they are for the life of a task.
insert into pgtide.rules_@ (excludes, schema, name, place)
select * from unnest($1::boolean[], $2::text[], $3::text[]) with ordinality
    on conflict do nothing
