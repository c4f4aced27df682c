-- Tables that publication $1 publishes for UPDATE and DELETE, and that nothing identifies: their server refuses both.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r'
   and c.relpersistence = 'p'
   and c.oid >= 16384
   and n.nspname not in ('information_schema', 'pgtide')
   and case c.relreplident
           when 'f' then false
           when 'n' then true
           else not exists (select from pg_index i
                             where i.indrelid = c.oid and i.indimmediate and i.indisvalid
                               and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end)
       end
   and exists (select from pg_publication p
                where p.pubname = $1 and (p.pubupdate or p.pubdelete)
                  and (p.puballtables or exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = c.oid)))
 order by 1
