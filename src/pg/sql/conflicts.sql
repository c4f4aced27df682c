-- Recorded conflicts of task $1 behind id $2, of table $3 ("schema.table" or "table"; null: all), each as one JSON document.
-- The members of rows are the columns as text.
SELECT c.id::text,
       json_build_object(
           'id', c.id,
           'at', to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'table', c.table_name,
           'kind', c.kind,
           'policy', c.policy,
           'action', c.action,
           'key', c.key_row::json,
           'old', c.old_row::json,
           'new', c.new_row::json,
           'lsn', c.lsn::text,
           'xid', c.xid)::text
  FROM pgtide.conflict c
 WHERE c.task = $1
   AND c.id > $2::int8
   AND ($3::text IS NULL OR c.table_name = $3 OR right(c.table_name, length($3) + 1) = '.' || $3)
 ORDER BY c.id
 LIMIT 1000
