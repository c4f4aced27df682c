-- Every object of the database with its definition as the server prints it: one row (kind, identity, definition) each. Two databases
-- hold the same objects when this gives the same rows. Run with an empty search_path, so that every name comes qualified. Columns that
-- came after version 10 are asked for through to_jsonb, and before 12 "c.*" has no oid.
WITH ours AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'pgtide')
), member AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), rel AS (
    SELECT c.oid, relkind, relpersistence, relreplident, relrowsecurity, relforcerowsecurity, reloptions, reloftype, relpartbound, relowner, relacl,
        format('%I.%I', nspname, relname) AS name FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid)
), fn AS (
    SELECT p.oid, proowner, proacl, coalesce(to_jsonb(p) ->> 'prokind', CASE WHEN (to_jsonb(p) ->> 'proisagg')::boolean THEN 'a' ELSE 'f' END) AS prokind,
        p.oid::regprocedure::text AS name FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
), typ AS (
    SELECT t.oid, typtype, typrelid, typbasetype, typtypmod, typnotnull, typdefault, format('%I.%I', nspname, typname) AS name FROM pg_type t JOIN ours ON ours.oid = t.typnamespace
    WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_type'::regclass AND objid = t.oid)
), found (kind, identity, definition) AS (
    SELECT 'schema', quote_ident(ours.nspname), pg_get_userbyid(n.nspowner)::text FROM ours JOIN pg_namespace n ON n.oid = ours.oid
    UNION ALL
    SELECT 'extension', extname::text, extversion FROM pg_extension
    UNION ALL
    SELECT 'relation', name, format('kind %s, persistence %s, identity %s, row security %s %s, options %s, of %s, bound %s, key %s, owner %s',
        relkind, relpersistence, relreplident, relrowsecurity, relforcerowsecurity, reloptions, nullif(reloftype, 0)::regtype,
        pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid), pg_get_userbyid(relowner))
    FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'parent', rel.name, string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM rel JOIN pg_inherits ON inhrelid = rel.oid
    WHERE relkind IN ('r', 'p', 'f') GROUP BY rel.name
    UNION ALL
    SELECT 'column', format('%s.%I', name, attname), format('%s, not null %s, default %s, identity %s, generated %s, collation %s, storage %s, compression %s, statistics %s, place %s, inherited %s',
        format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity, coalesce(to_jsonb(a) ->> 'attgenerated', ''), (SELECT format('%s.%I', collnamespace::regnamespace, collname) FROM pg_collation WHERE oid = attcollation),
        attstorage, coalesce(to_jsonb(a) ->> 'attcompression', ''), nullif(to_jsonb(a) ->> 'attstattarget', '-1'), rank() OVER (PARTITION BY rel.oid ORDER BY attnum), attislocal)
    FROM rel JOIN pg_attribute a ON attrelid = rel.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT 'index', i.indexrelid::regclass::text, format('%s, identity %s, valid %s, clustered %s', pg_get_indexdef(indexrelid), indisreplident, indisvalid, indisclustered)
    FROM pg_index i JOIN rel ON rel.oid = i.indrelid
    UNION ALL
    -- A foreign key to a partitioned table has one more row for each partition it points to; VALIDATE CONSTRAINT leaves those as they are.
    -- Not-null constraints are rows from 18 on, and a property of their column before.
    SELECT 'constraint', format('%s %I', coalesce(rel.name, c.contypid::regtype::text), c.conname),
        CASE WHEN c.conrelid = parent.conrelid THEN regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '')
            ELSE format('%s, validated %s', pg_get_constraintdef(c.oid), c.convalidated) END
    FROM pg_constraint c JOIN ours ON ours.oid = c.connamespace LEFT JOIN rel ON rel.oid = c.conrelid LEFT JOIN pg_constraint parent ON parent.oid::text = to_jsonb(c) ->> 'conparentid'
    WHERE c.contype <> 'n'
    UNION ALL
    SELECT 'trigger', format('%s %I', name, tgname), format('%s, enabled %s', pg_get_triggerdef(t.oid), tgenabled)
    FROM pg_trigger t JOIN rel ON rel.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'rule', format('%s %I', name, rulename), format('%s, enabled %s', pg_get_ruledef(r.oid), ev_enabled)
    FROM pg_rewrite r JOIN rel ON rel.oid = ev_class
    UNION ALL
    SELECT 'policy', format('%s %I', name, polname), format('%s %s %s, using %s, check %s', polcmd, polpermissive,
        (SELECT string_agg(CASE WHEN role = 0 THEN 'public' ELSE role::regrole::text END, ', ' ORDER BY 1) FROM unnest(polroles) role), pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy p JOIN rel ON rel.oid = polrelid
    UNION ALL
    SELECT 'statistics', format('%I.%I', nspname, stxname), pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s JOIN ours ON ours.oid = stxnamespace
    UNION ALL
    SELECT 'sequence', name, format('%s, start %s, step %s, from %s to %s, cache %s, cycle %s, owned by %s', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle,
        (SELECT format('%s.%s', refobjid::regclass, refobjsubid > 0) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = seqrelid AND deptype IN ('a', 'i') AND refclassid = 'pg_class'::regclass))
    FROM pg_sequence JOIN rel ON rel.oid = seqrelid
    UNION ALL
    SELECT 'function', name, pg_get_functiondef(oid) || ' owner ' || pg_get_userbyid(proowner) FROM (SELECT * FROM fn WHERE prokind IN ('f', 'p', 'w') OFFSET 0) plain
    UNION ALL
    SELECT 'aggregate', name, format('%s %s %s %s', aggtransfn, aggtranstype::regtype, agginitval, aggfinalfn) FROM fn JOIN pg_aggregate ON aggfnoid = fn.oid
    UNION ALL
    SELECT 'enum', name, string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM typ JOIN pg_enum ON enumtypid = typ.oid GROUP BY name
    UNION ALL
    SELECT 'domain', name, format('%s, not null %s, default %s', format_type(typbasetype, typtypmod), typnotnull, typdefault) FROM typ WHERE typtype = 'd'
    UNION ALL
    SELECT 'range', name, format('%s, by %s', rngsubtype::regtype, (SELECT opcname FROM pg_opclass WHERE oid = rngsubopc)) FROM typ JOIN pg_range ON rngtypid = typ.oid
    UNION ALL
    SELECT 'composite', typ.name, string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
    FROM typ JOIN pg_class c ON c.oid = typrelid AND relkind = 'c' JOIN pg_attribute ON attrelid = typrelid AND NOT attisdropped GROUP BY typ.name
    UNION ALL
    SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description FROM pg_description d
    WHERE EXISTS (SELECT FROM rel WHERE classoid = 'pg_class'::regclass AND oid = objoid)
        OR EXISTS (SELECT FROM ours WHERE classoid = 'pg_namespace'::regclass AND oid = objoid AND nspname <> 'public')
        OR EXISTS (SELECT FROM fn WHERE classoid = 'pg_proc'::regclass AND oid = objoid)
        OR EXISTS (SELECT FROM typ WHERE classoid = 'pg_type'::regclass AND oid = objoid)
    UNION ALL
    SELECT 'grant', name || coalesce('.' || column_name, ''), string_agg(format('%s %s by %s %s', privilege_type, coalesce(nullif(grantee, 0)::regrole::text, 'public'), grantor::regrole, is_grantable), ', '
        ORDER BY privilege_type, grantee::regrole::text, grantor::regrole::text)
    FROM (SELECT rel.name, NULL AS column_name, acl.* FROM rel, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) acl WHERE relkind NOT IN ('i', 'I', 't', 'c')
        UNION ALL SELECT rel.name, quote_ident(attname), acl.* FROM rel JOIN pg_attribute ON attrelid = rel.oid, aclexplode(attacl) acl
        UNION ALL SELECT 'schema ' || ours.nspname, NULL, acl.* FROM ours JOIN pg_namespace n ON n.oid = ours.oid, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) acl
        UNION ALL SELECT name, NULL, acl.* FROM fn, aclexplode(coalesce(proacl, acldefault('f', proowner))) acl
        UNION ALL SELECT 'default ' || coalesce(defaclnamespace::regnamespace::text, '') || defaclobjtype::text, NULL, acl.* FROM pg_default_acl, aclexplode(defaclacl) acl) AS acls
    GROUP BY name, column_name
)
SELECT kind, identity, definition FROM found ORDER BY kind, identity COLLATE "C", definition COLLATE "C"
