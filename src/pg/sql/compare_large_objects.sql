-- A page of large objects behind oid $1, at most $2 of them, by their contents. They are read in slices, in the statement's snapshot: one may be
-- larger than a value. The descriptors are asked for and closed as in large_objects.c.
select p.oid::text, format('%s bytes, md5 %s', s.size, coalesce(c.hash, md5('')))
  from (select oid from pg_largeobject_metadata where oid > $1::oid order by oid limit $2::int) p,
       lateral (select (select s.size + lo_close(case when s.size >= 0 then s.fd end)
                          from (select f.fd, lo_lseek64(f.fd, 0, 2) as size
                                  from (select lo_open(p.oid, 262144) as fd offset 0) f offset 0) s) as size offset 0) s,
       lateral (select case count(*) when 1 then max(x.hash) else md5(string_agg(x.hash, '' order by x.at)) end as hash
                  from (select at, md5(lo_get(p.oid, at, 262144)) as hash from generate_series(0, s.size - 1, 262144) at) x) c
 order by p.oid
