-- Roles that the shop grants to. Roles belong to a cluster, not to a database: run this on the source and on the target.
-- psql --file=shop_roles.sql
SELECT format('CREATE ROLE %I NOLOGIN', role)
FROM unnest(ARRAY['shop_reader', 'shop_clerk', 'Odd Role']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec
