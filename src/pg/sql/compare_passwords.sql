-- Whether roles have the same stored password verifiers, for who may read them; only a hash of them leaves the server.
select 'password', quote_ident(rolname), coalesce('verifier with md5 ' || md5(rolpassword), 'none'), rolname::text
  from pg_authid
 where rolname !~ '^pg_'
 order by quote_ident(rolname) collate "C"
