-- Every large object by its contents. `lo_get` reads in the statement's snapshot.
select 'large object', oid::text, format('%s bytes, md5 %s', length(lo_get(oid)), md5(lo_get(oid))), null
  from pg_largeobject_metadata
 order by oid::text collate "C"
