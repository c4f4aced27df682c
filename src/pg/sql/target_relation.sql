-- A table of the target by schema $1 and name $2. Rows of a plain table without triggers and rules that fire for replicas do not
-- depend on each other but for its indexes.
SELECT c.oid::text,
       c.relkind::text,
       (c.relkind = 'r'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('R', 'A'))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('R', 'A')))::text,
       (c.relkind = 'p'
        OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.condeferrable))::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1
   AND c.relname = $2
