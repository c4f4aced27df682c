-- Each kind of object that a database can hold, at least once, under every kind of legal name; several hundred objects. Roles are in
-- everything_roles.sql. :compression is one that both servers were built with. What PostgreSQL cannot make without a library of its own (label providers, access methods) is left out.
SET client_min_messages = warning;
SET check_function_bodies = false;

-- ---- names ----
CREATE SCHEMA "Mixed Case" AUTHORIZATION "Owner One";
CREATE SCHEMA "select";
CREATE SCHEMA "dots.and.more";
CREATE SCHEMA "größe ↑";
CREATE SCHEMA "a 'quoted' ""schema""";
CREATE SCHEMA plain;
COMMENT ON SCHEMA "Mixed Case" IS 'it''s a comment -- with; everything $$ in \ it';
COMMENT ON SCHEMA "a 'quoted' ""schema""" IS E'two\nlines';
GRANT USAGE ON SCHEMA "Mixed Case" TO reader, "select";
GRANT CREATE ON SCHEMA "select" TO writer WITH GRANT OPTION;

DO $make$
DECLARE
    name text;
    names text[] := ARRAY['Mixed', 'with space', 'dot.ted', 'quo"te', 'apo''strophe', 'order', 'naïve_ß_日本', ' leading', 'trailing ', 'semi;colon',
        '--comment', '/*', 'back\slash', '%s', '{}', '$1', '*', '!x', repeat('x', 63), 'UPPER', 'a,b', 'tab	tab', '1digit', 'pg_like', 'null', E'new\nline'];
    place text;
BEGIN
    FOREACH place IN ARRAY ARRAY['Mixed Case', 'select', 'dots.and.more', 'größe ↑', 'a ''quoted'' "schema"'] LOOP
        FOREACH name IN ARRAY names LOOP
            EXECUTE format('CREATE TABLE %I.%I (%I integer PRIMARY KEY, %I text DEFAULT %L)', place, name, name, left(name, 61) || '_2', name);
            EXECUTE format('INSERT INTO %I.%I SELECT g, %L FROM generate_series(1, 3) g', place, name, name);
            EXECUTE format('COMMENT ON TABLE %I.%I IS %L', place, name, 'comment of ' || name);
            EXECUTE format('COMMENT ON COLUMN %I.%I.%I IS %L', place, name, name, name);
            EXECUTE format('CREATE INDEX ON %I.%I (%I)', place, name, left(name, 61) || '_2');
        END LOOP;
    END LOOP;
END
$make$;
ALTER TABLE "Mixed Case"."Mixed" OWNER TO "Owner One";
GRANT SELECT ON ALL TABLES IN SCHEMA "Mixed Case" TO reader;
GRANT UPDATE ("Mixed"), REFERENCES ("Mixed_2") ON "Mixed Case"."Mixed" TO "select" WITH GRANT OPTION;

GRANT USAGE ON SCHEMA plain TO "Owner One";

-- ---- default privileges ----
ALTER DEFAULT PRIVILEGES IN SCHEMA plain GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "Owner One" GRANT USAGE ON SEQUENCES TO "select" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE "Owner One" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- ---- extensions ----
CREATE EXTENSION hstore SCHEMA plain;
CREATE EXTENSION btree_gist SCHEMA plain;
CREATE EXTENSION pg_trgm SCHEMA "select";
COMMENT ON EXTENSION hstore IS 'our hstore';

-- ---- types ----
CREATE TYPE plain.mood AS ENUM ('sad', 'ok', 'it''s "fine"', 'größer');
ALTER TYPE plain.mood ADD VALUE 'between' AFTER 'sad';
COMMENT ON TYPE plain.mood IS 'moods';
CREATE TYPE plain.pair AS (a integer, "B b" text COLLATE "C", c numeric(8, 2)[]);
CREATE TYPE plain."Nested" AS (p plain.pair, m plain.mood);
ALTER TYPE plain."Nested" OWNER TO "Owner One";
COMMENT ON COLUMN plain.pair."B b" IS 'column of a type';
CREATE DOMAIN plain.positive AS integer DEFAULT 1 NOT NULL CONSTRAINT "is > 0" CHECK (VALUE > 0) CONSTRAINT small CHECK (VALUE < 1000000);
CREATE DOMAIN plain.zip AS text COLLATE "C" CHECK (VALUE ~ '^\d{5}$');
ALTER DOMAIN plain.zip ADD CONSTRAINT later CHECK (VALUE <> '00000') NOT VALID;
COMMENT ON CONSTRAINT "is > 0" ON DOMAIN plain.positive IS 'above zero';
GRANT USAGE ON TYPE plain.zip TO reader;
REVOKE USAGE ON TYPE plain.zip FROM PUBLIC;
CREATE FUNCTION plain.float_distance(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE TYPE plain.span AS RANGE (subtype = float8, subtype_diff = plain.float_distance, multirange_type_name = plain.spans);
CREATE TYPE plain.shell;
CREATE TYPE plain.base;
CREATE FUNCTION plain.base_in(cstring) RETURNS plain.base LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION plain.base_out(plain.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION plain.base_recv(internal) RETURNS plain.base LANGUAGE internal STABLE STRICT AS 'textrecv';
CREATE FUNCTION plain.base_send(plain.base) RETURNS bytea LANGUAGE internal STABLE STRICT AS 'textsend';
CREATE TYPE plain.base (INPUT = plain.base_in, OUTPUT = plain.base_out, RECEIVE = plain.base_recv, SEND = plain.base_send, LIKE = text,
    CATEGORY = 'S', DELIMITER = ';', COLLATABLE = true, STORAGE = external);
CREATE CAST (plain.base AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS plain.base) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (plain.base AS text) IS 'as it is';
CREATE FUNCTION plain.mood_number(plain.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT length($1::text)';
CREATE CAST (plain.mood AS integer) WITH FUNCTION plain.mood_number(plain.mood);

-- ---- collations, conversions, text search ----
CREATE COLLATION plain."German phone" (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION plain.numeric_order (provider = icu, locale = 'en-u-kn-true', deterministic = false);
CREATE COLLATION "Mixed Case".c_like FROM "C";
COMMENT ON COLLATION plain."German phone" IS 'ä = ae';
ALTER COLLATION plain.numeric_order OWNER TO "Owner One";
CREATE CONVERSION plain.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION plain.latin IS 'a conversion';
CREATE TEXT SEARCH PARSER plain.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE plain.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY plain.dictionary (TEMPLATE = plain.template, stopwords = 'english', accept = false);
CREATE TEXT SEARCH CONFIGURATION plain."Config" (PARSER = plain.parser);
ALTER TEXT SEARCH CONFIGURATION plain."Config" ADD MAPPING FOR asciiword, word WITH plain.dictionary, english_stem;
ALTER TEXT SEARCH CONFIGURATION plain."Config" OWNER TO "Owner One";
COMMENT ON TEXT SEARCH CONFIGURATION plain."Config" IS 'how we search';
COMMENT ON TEXT SEARCH DICTIONARY plain.dictionary IS 'a dictionary';
COMMENT ON TEXT SEARCH PARSER plain.parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE plain.template IS 'a template';

-- ---- routines ----
CREATE FUNCTION plain.add("first one" integer, second integer DEFAULT 2, OUT total integer, OUT "other" text) LANGUAGE plpgsql STABLE PARALLEL SAFE COST 7
    SET work_mem = '8MB' SET search_path = plain, pg_temp SECURITY DEFINER AS $body$
BEGIN
    total := $1 + second; -- a comment; with a semicolon
    "other" := 'it''s $$ fine';
END
$body$;
COMMENT ON FUNCTION plain.add(integer, integer) IS 'adds';
ALTER FUNCTION plain.add(integer, integer) OWNER TO "Owner One";
REVOKE ALL ON FUNCTION plain.add(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plain.add(integer, integer) TO reader, "select";
CREATE FUNCTION plain.atomic(a integer) RETURNS integer LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT CASE WHEN a > 0 THEN a ELSE -a END; SELECT 1 + a; END;
CREATE FUNCTION plain.short(a integer) RETURNS integer LANGUAGE sql STRICT LEAKPROOF RETURN a * 2;
CREATE FUNCTION plain.many(VARIADIC numbers numeric[]) RETURNS SETOF numeric ROWS 50 LANGUAGE sql AS 'SELECT unnest($1)';
CREATE FUNCTION plain.rows() RETURNS TABLE ("A" integer, b text) LANGUAGE sql AS 'SELECT 1, ''x''';
CREATE FUNCTION plain."odd ""name"" ($1)"(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION plain.overloaded(integer) RETURNS text LANGUAGE sql AS 'SELECT ''integer''';
CREATE FUNCTION plain.overloaded(text) RETURNS text LANGUAGE sql AS 'SELECT ''text''';
CREATE PROCEDURE plain."Do It"(INOUT a integer, b text DEFAULT 'x') LANGUAGE plpgsql AS 'BEGIN a := a + 1; COMMIT; END';
COMMENT ON PROCEDURE plain."Do It"(integer, text) IS 'does it';
GRANT EXECUTE ON PROCEDURE plain."Do It"(integer, text) TO reader;
CREATE AGGREGATE plain.total(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0', COMBINEFUNC = numeric_add, PARALLEL = SAFE);
CREATE AGGREGATE plain.newest(ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = mode_final, FINALFUNC_EXTRA);
COMMENT ON AGGREGATE plain.total(numeric) IS 'a sum';
ALTER AGGREGATE plain.total(numeric) OWNER TO "Owner One";

-- ---- operators ----
CREATE FUNCTION plain.pair_less(plain.pair, plain.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a < ($2).a';
CREATE FUNCTION plain.pair_order(plain.pair, plain.pair) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a - ($2).a';
CREATE OPERATOR plain.<<< (LEFTARG = plain.pair, RIGHTARG = plain.pair, FUNCTION = plain.pair_less, COMMUTATOR = OPERATOR(plain.>>>), RESTRICT = scalarltsel);
CREATE OPERATOR plain.>>> (LEFTARG = plain.pair, RIGHTARG = plain.pair, FUNCTION = plain.pair_less, COMMUTATOR = OPERATOR(plain.<<<));
CREATE OPERATOR plain.!!! (RIGHTARG = integer, FUNCTION = plain.atomic);
COMMENT ON OPERATOR plain.<<< (plain.pair, plain.pair) IS 'less';
CREATE OPERATOR FAMILY plain.family USING btree;
CREATE OPERATOR CLASS plain.class FOR TYPE plain.pair USING btree FAMILY plain.family AS OPERATOR 1 plain.<<<, FUNCTION 1 plain.pair_order(plain.pair, plain.pair);
COMMENT ON OPERATOR CLASS plain.class USING btree IS 'a class';
COMMENT ON OPERATOR FAMILY plain.family USING btree IS 'a family';

-- ---- sequences ----
CREATE SEQUENCE plain.seq AS smallint INCREMENT -2 MINVALUE -1000 MAXVALUE 500 START 400 CACHE 5 CYCLE;
SELECT nextval('plain.seq');
CREATE SEQUENCE plain."never Called";
ALTER SEQUENCE plain."never Called" OWNER TO "Owner One";
COMMENT ON SEQUENCE plain.seq IS 'down';
GRANT USAGE, SELECT ON SEQUENCE plain.seq TO reader;

-- ---- tables ----
CREATE TABLE plain.parent (
    id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 3) PRIMARY KEY,
    code plain.zip UNIQUE,
    mood plain.mood DEFAULT 'ok' NOT NULL,
    pairs plain.pair[],
    nested plain."Nested",
    at timestamptz(3) DEFAULT clock_timestamp(),
    doubled bigint GENERATED ALWAYS AS (size * 2) STORED,
    size plain.positive,
    note text COLLATE plain."German phone",
    base plain.base,
    spans plain.span,
    many plain.spans,
    labels plain.hstore,
    document xml,
    body jsonb,
    CONSTRAINT "size or mood" CHECK (size > 5 OR mood <> 'sad') NO INHERIT
);
INSERT INTO plain.parent (code, size, pairs, nested, note, base, spans, many, labels, document, body)
    SELECT to_char(g, 'FM00000'), g + 10, ARRAY[ROW(g, 'x', ARRAY[1.25, g])::plain.pair], ROW(ROW(g, 'y', NULL), 'ok')::plain."Nested", 'größe ' || g, 'b' || g,
        plain.span(g, g + 1.5), plain.spans(plain.span(g, g + 1)), plain.hstore('k', g::text), xmlparse(content '<a>' || g || '</a>'), jsonb_build_object('g', g)
    FROM generate_series(1, 50) g;
GRANT SELECT ON plain.parent TO "Owner One";
ALTER TABLE plain.parent ALTER note SET STORAGE EXTERNAL, ALTER body SET COMPRESSION :compression, ALTER code SET STATISTICS 500, ALTER note SET (n_distinct = -0.5);
ALTER TABLE plain.parent SET (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE plain.child (
    id serial,
    parent bigint REFERENCES plain.parent (id) ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
    code plain.zip CONSTRAINT "code fk" REFERENCES plain.parent (code) MATCH FULL,
    during tsrange,
    room integer,
    a integer,
    b integer,
    c integer,
    PRIMARY KEY (id) INCLUDE (a),
    CONSTRAINT "no overlap" EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE,
    CONSTRAINT once UNIQUE NULLS NOT DISTINCT (a, b),
    CONSTRAINT late UNIQUE (c) DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE plain.child ADD CONSTRAINT unproven CHECK (a <> 7) NOT VALID;
ALTER TABLE plain.child ADD CONSTRAINT unproven_fk FOREIGN KEY (a) REFERENCES plain.child (id) NOT VALID;
INSERT INTO plain.child (parent, code, during, room, a, b, c)
    SELECT 10 + 3 * g, NULL, tsrange('2024-01-01'::timestamp + g * interval '1 day', '2024-01-02'::timestamp + g * interval '1 day'), g % 3, NULL, g, g FROM generate_series(1, 20) g;
COMMENT ON CONSTRAINT late ON plain.child IS 'checked late';
CREATE TABLE plain.itself (id integer PRIMARY KEY, up integer REFERENCES plain.itself ON DELETE SET NULL (up));
INSERT INTO plain.itself VALUES (2, 2), (1, 2);
CREATE TABLE plain.base_table (a integer NOT NULL CHECK (a > 0), b text DEFAULT 'base');
CREATE TABLE plain.inheritor (c date, CONSTRAINT positive_too CHECK (a < 100)) INHERITS (plain.base_table);
CREATE TABLE plain.second_parent (z integer, b text);
CREATE TABLE plain.heir (a integer NOT NULL) INHERITS (plain.inheritor, plain.second_parent);
ALTER TABLE plain.heir ALTER b SET DEFAULT 'heir';
ALTER TABLE plain.base_table REPLICA IDENTITY FULL;
ALTER TABLE plain.inheritor REPLICA IDENTITY FULL;
ALTER TABLE plain.second_parent REPLICA IDENTITY FULL;
ALTER TABLE plain.heir REPLICA IDENTITY FULL;
INSERT INTO plain.base_table VALUES (1); INSERT INTO plain.inheritor VALUES (2, 'x', '2024-02-29'); INSERT INTO plain.heir VALUES (3, 'y', NULL, 4);
CREATE TABLE plain.by_range (id integer, at date NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE plain.by_range_2023 PARTITION OF plain.by_range FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE plain."by range 2024" (at date NOT NULL, v text DEFAULT 'own', id integer NOT NULL);
ALTER TABLE plain.by_range ATTACH PARTITION plain."by range 2024" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE plain.by_range_rest PARTITION OF plain.by_range DEFAULT PARTITION BY LIST (id);
CREATE TABLE plain.rest_list PARTITION OF plain.by_range_rest FOR VALUES IN (30, 31);
CREATE TABLE plain.rest_hash PARTITION OF plain.by_range_rest DEFAULT PARTITION BY HASH (id);
CREATE TABLE plain.rest_hash_0 PARTITION OF plain.rest_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE plain.rest_hash_1 PARTITION OF plain.rest_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX by_range_v ON plain.by_range (v);
CREATE INDEX by_range_only ON ONLY plain.by_range (lower(v));
INSERT INTO plain.by_range SELECT g, '2023-06-01'::date + g * 30, CASE g % 3 WHEN 0 THEN 'x' WHEN 1 THEN 'y' END FROM generate_series(1, 40) g;
CREATE TABLE plain.to_partitioned (id integer PRIMARY KEY, r integer, at date, FOREIGN KEY (r, at) REFERENCES plain.by_range);
ALTER TABLE plain.by_range ADD CONSTRAINT "v fk" CHECK (v <> 'never');
CREATE UNLOGGED TABLE plain.unlogged (a integer PRIMARY KEY);
INSERT INTO plain.unlogged VALUES (1);
CREATE TABLE plain.clustered (a integer NOT NULL, b integer NOT NULL);
CREATE UNIQUE INDEX clustered_b ON plain.clustered (b);
CREATE INDEX clustered_a ON plain.clustered (a DESC NULLS LAST) INCLUDE (b) WITH (fillfactor = 70);
ALTER TABLE plain.clustered REPLICA IDENTITY USING INDEX clustered_b;
ALTER TABLE plain.clustered CLUSTER ON clustered_a;
INSERT INTO plain.clustered SELECT g, -g FROM generate_series(1, 100) g;
CREATE TABLE plain.typed OF plain.pair (PRIMARY KEY (a), c WITH OPTIONS DEFAULT '{}');
CREATE TABLE plain.identity_default (id integer GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME plain."Own Name" START 5) PRIMARY KEY);
CREATE TABLE plain.no_columns ();
ALTER TABLE plain.no_columns REPLICA IDENTITY FULL;
CREATE TABLE plain.dropped (a integer PRIMARY KEY, gone text, b text);
ALTER TABLE plain.dropped DROP gone;
INSERT INTO plain.dropped VALUES (1, 'b');
CREATE TABLE plain.of_sequence (id integer PRIMARY KEY DEFAULT nextval('plain.seq'));
CREATE INDEX "GIN index" ON plain.parent USING gin (body jsonb_path_ops) WHERE body IS NOT NULL;
CREATE INDEX expression ON plain.parent ((lower(note) || 'x') text_pattern_ops, (size + 1));
CREATE INDEX trigrams ON plain.parent USING gin (note "select".gin_trgm_ops);
CREATE INDEX brin ON plain.parent USING brin (at) WITH (pages_per_range = 4);
CREATE INDEX hash ON plain.parent USING hash (id);
CREATE INDEX spgist ON plain.parent USING spgist (note);
CREATE INDEX own_class ON plain.typed ((ROW(a, "B b", c)::plain.pair) plain.class);
ALTER INDEX plain.expression ALTER COLUMN 2 SET STATISTICS 300;
COMMENT ON INDEX plain."GIN index" IS 'an index';
CREATE STATISTICS plain."Statistics" (ndistinct, dependencies, mcv) ON a, b FROM plain.clustered;
CREATE STATISTICS plain.of_expression ON (a + b) FROM plain.clustered;
ALTER STATISTICS plain."Statistics" SET STATISTICS 42;
COMMENT ON STATISTICS plain."Statistics" IS 'dependent';

-- ---- views, rules, triggers, policies ----
CREATE VIEW plain.view AS SELECT id, mood, pairs[1] AS one FROM plain.parent WHERE size > 3;
CREATE VIEW "Mixed Case"."View ""2""" ("Column") WITH (security_barrier, check_option = local) AS SELECT id FROM plain.parent WHERE id > 0;
CREATE VIEW plain.invoker WITH (security_invoker) AS SELECT * FROM plain.view;
CREATE RECURSIVE VIEW plain.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
ALTER VIEW plain.view ALTER mood SET DEFAULT 'sad';
ALTER VIEW plain.view OWNER TO "Owner One";
COMMENT ON VIEW plain.view IS 'a view';
GRANT SELECT (id) ON plain.view TO reader;
CREATE MATERIALIZED VIEW plain.matview WITH (fillfactor = 60) AS SELECT mood, count(*) AS n FROM plain.parent GROUP BY mood;
CREATE MATERIALIZED VIEW plain.matview_of_matview AS SELECT sum(n) AS n FROM plain.matview;
CREATE MATERIALIZED VIEW plain.a_first AS SELECT n FROM plain.matview_of_matview;
CREATE MATERIALIZED VIEW plain.unpopulated AS SELECT 1 AS a WITH NO DATA;
CREATE UNIQUE INDEX matview_mood ON plain.matview (mood);
ALTER MATERIALIZED VIEW plain.matview OWNER TO "Owner One";
COMMENT ON MATERIALIZED VIEW plain.matview IS 'kept';
CREATE VIEW plain.cycle_a AS SELECT 1 AS id, 'x'::text AS v;
CREATE TABLE plain.log (a integer, b text, at timestamptz);
ALTER TABLE plain.log REPLICA IDENTITY FULL;
CREATE RULE "on insert" AS ON INSERT TO plain.cycle_a DO INSTEAD INSERT INTO plain.log VALUES (NEW.id, NEW.v);
CREATE RULE protect AS ON DELETE TO plain.typed DO INSTEAD NOTHING;
ALTER TABLE plain.typed DISABLE RULE protect;
COMMENT ON RULE "on insert" ON plain.cycle_a IS 'a rule';
CREATE FUNCTION plain.trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "Before" BEFORE INSERT OR UPDATE OF note ON plain.parent FOR EACH ROW WHEN (NEW.note <> 'x;') EXECUTE FUNCTION plain.trigger('it''s', '2');
CREATE TRIGGER statement AFTER UPDATE ON plain.parent REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION plain.trigger();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON plain.child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION plain.trigger();
CREATE TRIGGER on_view INSTEAD OF INSERT ON plain.view FOR EACH ROW EXECUTE FUNCTION plain.trigger();
CREATE TRIGGER on_parts AFTER INSERT ON plain.by_range FOR EACH ROW EXECUTE FUNCTION plain.trigger();
CREATE TRIGGER off BEFORE DELETE ON plain.parent FOR EACH ROW EXECUTE FUNCTION plain.trigger();
ALTER TABLE plain.parent DISABLE TRIGGER off, ENABLE ALWAYS TRIGGER statement;
ALTER TABLE plain.child ENABLE REPLICA TRIGGER deferred;
ALTER TABLE plain.by_range_2023 DISABLE TRIGGER on_parts;
COMMENT ON TRIGGER off ON plain.parent IS 'off';
CREATE POLICY "Own rows" ON plain.parent AS RESTRICTIVE FOR UPDATE TO reader, "select" USING (note = current_user) WITH CHECK (size > 0);
CREATE POLICY reads ON plain.parent FOR SELECT TO "Owner One" USING (true);
CREATE POLICY everybody ON plain.child USING (true);
ALTER TABLE plain.parent ENABLE ROW LEVEL SECURITY;
ALTER TABLE plain.child ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
COMMENT ON POLICY "Own rows" ON plain.parent IS 'a policy';
CREATE FUNCTION plain.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER "Event" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION plain.on_ddl();
CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION plain.on_ddl();
ALTER EVENT TRIGGER off DISABLE;
COMMENT ON EVENT TRIGGER "Event" IS 'watches';

-- ---- languages, foreign data ----
CREATE FUNCTION plain.our_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE TRUSTED LANGUAGE our_sql HANDLER plain.our_handler;
COMMENT ON LANGUAGE our_sql IS 'as plpgsql';
CREATE FUNCTION plain.in_our_sql() RETURNS integer LANGUAGE our_sql AS 'BEGIN RETURN 1; END';
GRANT USAGE ON LANGUAGE our_sql TO reader;
CREATE FOREIGN DATA WRAPPER wrapper OPTIONS (debug 'true');
CREATE SERVER "Server" TYPE 'a type' VERSION '1' FOREIGN DATA WRAPPER wrapper OPTIONS (url 'nowhere', "odd Option" 'x');
CREATE USER MAPPING FOR reader SERVER "Server" OPTIONS ("user" 'them');
CREATE FOREIGN TABLE plain.foreign_table (a integer OPTIONS (name 'A') NOT NULL, b text DEFAULT 'x', CHECK (a > 0)) SERVER "Server" OPTIONS (t 'x');
GRANT USAGE ON FOREIGN SERVER "Server" TO reader;
COMMENT ON SERVER "Server" IS 'a server';
CREATE TRANSFORM FOR plain.mood LANGUAGE our_sql (FROM SQL WITH FUNCTION varchar_support(internal));

-- ---- large objects ----
SELECT lo_from_bytea(900001, decode(repeat('00ff10', 1000), 'hex'));
SELECT lo_from_bytea(900002, '');
SELECT lo_from_bytea(900003, decode(repeat('ab', 3000000), 'hex'));
SELECT lo_put(lo_create(900004), 5000000, '\x01');
ALTER LARGE OBJECT 900001 OWNER TO "Owner One";
GRANT SELECT ON LARGE OBJECT 900001 TO reader WITH GRANT OPTION;
GRANT SELECT, UPDATE ON LARGE OBJECT 900003 TO PUBLIC;
SET SESSION AUTHORIZATION reader; GRANT SELECT ON LARGE OBJECT 900001 TO writer; RESET SESSION AUTHORIZATION;
ALTER LARGE OBJECT 900004 OWNER TO writer; REVOKE UPDATE ON LARGE OBJECT 900004 FROM writer;
COMMENT ON LARGE OBJECT 900002 IS 'empty; it''s';

-- ---- rights on what nobody here made ----
GRANT EXECUTE ON FUNCTION pg_read_file(text) TO reader; REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC; GRANT SELECT (rolname) ON pg_authid TO reader;
GRANT EXECUTE ON FUNCTION plain.hstore_to_json(plain.hstore) TO reader; REVOKE ALL ON FUNCTION plain.hstore_to_jsonb(plain.hstore) FROM PUBLIC;

-- ---- the database itself ----
DO $database$
BEGIN
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'the whole; it''s here');
    EXECUTE format('ALTER DATABASE %I SET work_mem = %L', current_database(), '7MB');
    EXECUTE format('ALTER DATABASE %I SET search_path = plain, "Mixed Case"', current_database());
    EXECUTE format('ALTER DATABASE %I SET "our.setting" = %L', current_database(), 'a ''value''');
    EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 50', current_database());
    EXECUTE format('ALTER DATABASE %I OWNER TO "Owner One"', current_database());
    EXECUTE format('GRANT CREATE, TEMP ON DATABASE %I TO reader', current_database());
    EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('ALTER ROLE reader IN DATABASE %I SET statement_timeout = %L', current_database(), '5min');
    EXECUTE format('ALTER ROLE writer IN DATABASE %I SET search_path = %L', current_database(), '');
    EXECUTE format('ALTER DATABASE %I IS_TEMPLATE true', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO writer WITH GRANT OPTION', current_database());
    EXECUTE format('SET ROLE writer; GRANT CONNECT ON DATABASE %I TO "select"; RESET ROLE', current_database());
END
$database$;
