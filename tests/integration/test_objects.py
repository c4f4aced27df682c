"""Each kind of object comes along: sql/everything.sql holds several hundred, and pg_dump's words about both sides must be the same.

    source ── pgtide ──▶ target
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from harness.cluster import Cluster
from harness.compare import assert_equal
from harness.load import SQL
from harness.pgtide import OK, REFUSED, Done
from harness.world import Pair, World

LARGE_OBJECTS = """
SELECT m.oid::int, lomowner::regrole::text, lomacl::text, obj_description(m.oid, 'pg_largeobject'), md5(lo_get(m.oid)), length(lo_get(m.oid))
FROM pg_largeobject_metadata m ORDER BY 1
"""


def structure(cluster: Cluster, database: str) -> list[str]:
    """As pg_dump says it, the database's own properties included, without what differs from one call to the next."""
    done = subprocess.run([cluster.installation.program("pg_dump"), "-s", "-C", "-d", cluster.dsn(database)], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def large_objects(cluster: Cluster, database: str = "app") -> list[tuple[object, ...]]:
    return cluster.query(LARGE_OBJECTS, database)


def everything(world: World, *options: str) -> Pair:
    """The target's database is missing: it is to be made like the source's."""
    source, target = world.cluster("source"), world.cluster("target")
    for cluster in (source, target):
        cluster.psql(SQL / "everything_roles.sql")
    source.create_database("app")
    methods = "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
    source.psql(SQL / "everything.sql", database="app", compression=max(set(source.value(methods)) & set(target.value(methods)), key="pglz".__ne__))
    return Pair(source, target, world.pgtide(source.dsn("app"), target.dsn("app"), ("--accept", "all", *options)), "app")


def test_each_kind_of_object_arrives_as_it_is(world: World):
    pair = everything(world, "--populate-matviews")
    pair.pgtide.sync()
    source, target = structure(pair.source, "app"), structure(pair.target, "app")
    assert len([line for line in source if line.startswith(("CREATE ", "ALTER TABLE ONLY"))]) > 500
    assert source == target
    pair.assert_equal()
    assert large_objects(pair.source) == large_objects(pair.target)
    done = pair.pgtide.call("compare", "--kind", "object,values", "--json")
    assert done.status == OK, [entry for entry in json.loads(done.out)["entries"] if entry["result"] != "equal"]
    populated = "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1"
    assert pair.source.query(populated, "app") == pair.target.query(populated, "app")
    assert pair.target_value("SELECT n::int FROM plain.a_first") == 50
    assert pair.target_value("SELECT reltuples FROM pg_class WHERE oid = 'plain.parent'::regclass") == 50  # analyzed
    compared = pair.pgtide.call("compare")
    assert compared.status == OK, compared
    pair.assert_nothing_left()


def announcement(pair: Pair) -> list[str]:
    items = json.loads(pair.pgtide.call("check", "--json").out)["items"]
    return [str(line) for line in next(item for item in items if item["id"] == "left-out")["objects"]]


def left_out(pair: Pair) -> list[tuple[str, str]]:
    """Reason and statement, as the state folder has them."""
    (file,) = pair.pgtide.state_dir.glob("*/left-out.sql")
    blocks = [block.split("\n", 1) for block in file.read_text().split("\n-- left out: ")[1:]]
    return [(reason, statement.strip()) for reason, statement in blocks]


# What an announcement and what is then left out speak of in different words: (announced, reason, statement); the first group of each is what it is about.
WORDS = [
    (r"default privileges of role \"(.*)\"$", "we may not act for role", r"ALTER DEFAULT PRIVILEGES FOR ROLE \"?([^ \"]+)"),
    (r"comment of extension \"(.*)\":", "comments on extensions", r"COMMENT ON EXTENSION ([^ ]+)"),
    (r"that \"(.*)\" granted", "in the name of another role", r"SET SESSION AUTHORIZATION \"?([^\";]+)"),
    (r"^rights on function (?:plain\.)?(\w+)", "privileges were granted|privileges could be revoked|permission denied for function", r"(?:GRANT|REVOKE) .* ON FUNCTION \w+\.(\w+)\("),
    (r"^rights on column rolname of table (pg_authid)", "permission denied for column", r"GRANT .* ON TABLE pg_catalog\.(\w+) TO"),
    (r"^(ALTER (?:DATABASE|ROLE) .*): [^:]*$", "granted SET on it|may not alter role|knows no such setting", r"(.*);$"),
]


def plain(name: str) -> str:
    return name.replace('"', "")


def assert_told(pair: Pair, announced: list[str], run: Done) -> None:
    """Everything that is announced is left out, and nothing else is but what roles-missing told: owners that nobody here may become."""
    told = left_out(pair)
    seen: set[str] = set()
    for before, reason, statement in WORDS:
        expected = {plain(m[1]) for line in announced if (m := re.search(before, line))}
        found = {plain(m[1]) for why, text in told if re.search(reason, why) and (m := re.match(statement, text))}
        seen |= {text for why, text in told if re.search(reason, why)}
        assert expected == found and expected, (before, expected, found)
    others = [text for why, text in told if text not in seen and not re.search(r"(?s)^ALTER .* OWNER TO postgres;$", text)]
    assert others == []
    assert all(any(re.search(before, line) for before, *_ in WORDS) for line in announced), announced
    assert f"{len(told)} statements that the target could not take: " in run.out and "left-out.sql" in run.out, run.out


KEYS = """
CREATE TABLE many (id integer, code integer NOT NULL, name text, r int4range, extra text, filler text,
    CONSTRAINT "many's key" PRIMARY KEY (id) INCLUDE (extra) WITH (fillfactor = 70), CONSTRAINT later UNIQUE (name, id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT by_code UNIQUE (code), CONSTRAINT apart EXCLUDE USING gist (r WITH &&));
INSERT INTO many SELECT n, -n, md5(n::text), int4range(n, n + 1), 'e', repeat('f', 150) FROM generate_series(1, 50000) n;
CREATE INDEX one ON many (name); CREATE INDEX two ON many (extra, code) WHERE id > 10;
ALTER TABLE many CLUSTER ON "many's key"; ALTER TABLE many REPLICA IDENTITY USING INDEX by_code;
COMMENT ON CONSTRAINT "many's key" ON many IS 'the key''s'; COMMENT ON INDEX by_code IS 'of codes';
CREATE TABLE single (id bigint PRIMARY KEY, filler text); INSERT INTO single SELECT n, repeat('f', 300) FROM generate_series(1, 30000) n;
CREATE TABLE parts (id integer, at integer, filler text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE INDEX ON parts (at); INSERT INTO parts SELECT n, n % 20, repeat('f', 500) FROM generate_series(1, 40000) n;
CREATE TABLE referring (id integer PRIMARY KEY, many integer REFERENCES many, code integer REFERENCES many (code) DEFERRABLE);
INSERT INTO referring SELECT n, n, -n FROM generate_series(1, 100) n;
"""


def test_keys_are_built_beside_other_indexes_and_are_what_they_were(world: World):
    """Killed again and again, also between the index and the constraint that takes it. A table with one index is done with one statement."""
    pair = world.pair(target_settings={"log_statement": "ddl"}, options=("--jobs", "3", "--accept", "all"))
    pair.on_source(KEYS)
    struck = 0
    for fault in [f"copy.{where}=crash@{turn}" for turn in (2, 5, 3, 1, 4, 2, 6) for where in ("index_begin", "index_before_commit")]:
        run = pair.pgtide.start("--until", "caught-up", faults=fault)
        run.wait(90)
        struck += run.status != OK
        if run.status == OK:
            break
    if pair.pgtide.run.status != OK:
        pair.pgtide.sync()
    assert struck >= 3
    assert structure(pair.source, "app") == structure(pair.target, "app")
    pair.assert_equal()
    log = pair.target.log_text()
    for name in ("\"many's key\"", "later", "by_code", "part_1_pkey"):
        assert f"CREATE UNIQUE INDEX {name}" in log, name
    assert "CREATE UNIQUE INDEX single_pkey" not in log and "CREATE UNIQUE INDEX apart" not in log
    assert pair.target_value("SELECT count(*) FROM pg_index WHERE NOT indisvalid OR NOT indisready") == 0
    pair.assert_nothing_left()


FOR_SUPERUSERS = """
    DROP EVENT TRIGGER "Event"; DROP EVENT TRIGGER off; DROP TYPE plain.base CASCADE; DROP TYPE plain.shell CASCADE; DROP FOREIGN DATA WRAPPER wrapper CASCADE; DROP LANGUAGE our_sql CASCADE;
    DROP FUNCTION plain.our_handler CASCADE; ALTER FUNCTION plain.short(integer) NOT LEAKPROOF; DROP OPERATOR FAMILY plain.family USING btree CASCADE; DROP TEXT SEARCH PARSER plain.parser CASCADE;
    DROP TEXT SEARCH TEMPLATE plain.template CASCADE; DROP AGGREGATE plain.newest(ORDER BY anyelement)"""
NOT_BY_A_PLAIN_USER = ("ALTER DATABASE app SET \"our.setting\"", "COMMENT ON EXTENSION hstore", "SESSION AUTHORIZATION", "FUNCTION pg_catalog.", "pg_authid", "hstore_to_json", "ALTER DEFAULT PRIVILEGES FOR ROLE postgres")


def test_a_plain_user_on_the_target_brings_all_but_what_is_named(world: World):
    """CREATEDB, CREATEROLE, a member of the roles that own: objects of owners without rights in their schemas, comments on triggers, forced row security."""
    pair = everything(world)
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEDB CREATEROLE")
    for (role,) in pair.target.query("SELECT quote_ident(rolname) FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> 'carrier'"):
        pair.target.execute(f"GRANT {role} TO carrier")
    pair.pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"), ("--accept", "all", "--populate-matviews"))
    refused = pair.pgtide.call("check", "--json")
    assert refused.status == REFUSED
    found = next(item for item in json.loads(refused.out)["items"] if item["id"] == "superuser-objects")["objects"]
    assert not any("span" in line or "total" in line for line in found) and any("newest" in line for line in found) and "shell type plain.shell" in found, found
    pair.on_source(FOR_SUPERUSERS)
    announced = announcement(pair)
    run = pair.pgtide.sync()
    assert_told(pair, announced, run)

    def by_anybody(cluster: Cluster) -> set[str]:
        """What belongs to the source's superuser belongs to who makes it."""
        return {line.replace("OWNER TO carrier", "OWNER TO postgres") for line in structure(cluster, "app") if not line.startswith("--")}

    different = by_anybody(pair.source) ^ by_anybody(pair.target)
    assert {words for words in NOT_BY_A_PLAIN_USER if any(words in line for line in different)} == set(NOT_BY_A_PLAIN_USER)
    assert all(any(words in line for words in NOT_BY_A_PLAIN_USER) for line in different), different
    assert "our hstore" in run.err + run.out
    assert_equal(pair.source, pair.target, "app", objects=False)

    def made_by_anybody(cluster: Cluster) -> list[tuple[object, ...]]:
        """As above; and who may not act for others grants in the owner's name, which is said."""
        rows = [(oid, owner.replace("carrier", "postgres"), acl and acl.replace("carrier", "postgres"), *rest) for oid, owner, acl, *rest in large_objects(cluster)]
        return [(oid, owner, acl and acl.replace("writer=r/reader", r'"writer=r/\"Owner One\""') if oid == 900001 else acl, *rest) for oid, owner, acl, *rest in rows]

    assert made_by_anybody(pair.source) == made_by_anybody(pair.target)
    entries = {(entry["kind"], entry["name"]): entry for entry in json.loads(pair.pgtide.call("compare", "--json").out)["entries"]}
    assert {difference["identity"] for difference in entries["object", "large object"]["differences"]} == {"900001", "900002", "900003"}
    assert entries["values", "large object"]["result"] == "equal"
    assert ("only a superuser can grant in the name of another role", "SET SESSION AUTHORIZATION reader;") in left_out(pair) and large_objects(pair.source) != large_objects(pair.target)
    pair.assert_nothing_left()


def test_each_statement_that_is_left_out_is_in_a_file_once_and_whole(world: World):
    """Owners that the target does not have: 120, and a policy of several lines. Killed when some were told and nothing was committed."""
    pair = world.pair(options=("--accept", "roles-missing"))
    pair.source.execute("CREATE ROLE stays_there")
    pair.on_source("DO $$ BEGIN FOR n IN 1..120 LOOP EXECUTE format('CREATE TABLE t%s (a integer PRIMARY KEY); ALTER TABLE t%s OWNER TO stays_there', n, n); END LOOP; END $$")
    pair.on_source("CREATE TABLE p (a integer PRIMARY KEY, b text); CREATE POLICY \"only\nthis\" ON p TO stays_there USING (b =\n 'x;')")
    pair.pgtide.start("--until", "caught-up", faults="schema.before_record=crash@1").wait()
    assert len(left_out(pair)) >= 100
    run = pair.pgtide.start("--until", "caught-up", "--json").expect(OK)
    events = [json.loads(line) for line in run.out.splitlines()]
    told = left_out(pair)
    assert sorted(text for _, text in told if "OWNER TO" in text) == sorted(f"ALTER TABLE public.t{n} OWNER TO stays_there;" for n in range(1, 121))
    assert [text for _, text in told if "POLICY" in text] == ["CREATE POLICY \"only\nthis\" ON public.p TO stays_there USING ((b = 'x;'::text));"]
    assert {reason for reason, _ in told} == {'role "stays_there" does not exist on the target'} and len(told) == 121
    last = [event for event in events if event["event"] == "left_out"][-1]
    assert last["statements"] == events[-1]["statements_left_out"] == 121 and Path(last["file"]).read_text().count("-- left out: ") == 121 and events[-1]["left_out_file"] == last["file"]
    log = next(pair.pgtide.state_dir.glob("*/log")).read_text()
    assert log.count('left out "ALTER TABLE') <= 100 and "these and further ones are in" in log
    pair.assert_equal(objects=False)


FIRING = """
CREATE TABLE t (id integer PRIMARY KEY, v text); CREATE TABLE u (id integer PRIMARY KEY, n integer); CREATE TABLE audit (id serial PRIMARY KEY, what text);
CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit (what) VALUES (TG_OP); RETURN NULL; END';
CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';
CREATE TRIGGER told AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION told(); ALTER TABLE t ENABLE ALWAYS TRIGGER told;
CREATE TRIGGER more BEFORE INSERT OR UPDATE ON u FOR EACH ROW EXECUTE FUNCTION more(); ALTER TABLE u ENABLE REPLICA TRIGGER more;
CREATE RULE told AS ON INSERT TO u DO ALSO INSERT INTO audit (what) VALUES ('rule'); ALTER TABLE u ENABLE ALWAYS RULE told;
CREATE TRIGGER told AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION told(); ALTER TABLE p ENABLE ALWAYS TRIGGER told; ALTER TABLE p2 DISABLE TRIGGER told;
INSERT INTO t SELECT n, n FROM generate_series(1, 5) n; INSERT INTO u VALUES (1, 1); INSERT INTO p VALUES (1), (11)
"""


def test_what_fires_for_replicas_on_the_source_does_nothing_for_a_second_time(world: World):
    """What it did comes with the changes. It is set at the stop."""
    pair = world.pair()
    pair.on_source(FIRING)
    changes = "INSERT INTO t VALUES ({0}, 'x'); UPDATE t SET v = 'y' WHERE id < 3; INSERT INTO u VALUES ({0}, 2); UPDATE u SET n = 7; INSERT INTO p VALUES ({0} - 1), ({0} + 1)"
    pair.pgtide.follow()
    pair.on_source(changes.format(6))
    pair.on_source("ALTER TABLE t ADD w integer")    # what was not made yet is made before it
    pair.pgtide.caught_up()
    compared = pair.pgtide.call("compare")
    assert compared.status == OK and "fire for replicas" in compared.out, compared
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.on_source(changes.format(9))
    pair.finish()
    compared = pair.pgtide.call("compare")
    assert compared.status == OK and "fire for replicas" not in compared.out, compared
    assert pair.target_value("SELECT count(*) FROM pg_trigger WHERE tgenabled IN ('A', 'R')") == 4
    # Where it is there before: --type incremental
    pair.pgtide.follow("--type", "incremental")
    pair.on_source(changes.format(15))
    pair.finish()
    assert pair.pgtide.call("compare").status == OK


def test_materialized_views_stay_empty_unless_asked_for(world: World):
    pair = world.pair()
    pair.on_source("CREATE MATERIALIZED VIEW m AS SELECT 1 AS a")
    pair.pgtide.sync()
    assert pair.target_value("SELECT relispopulated FROM pg_class WHERE relname = 'm'") is False


@pytest.mark.parametrize("how", [(), ("--no-ddl",)], ids=["ddl", "no-ddl"])
def test_large_objects_that_change_while_following_are_copied_again_at_the_stop(world: World, how: tuple[str, ...]):
    """Their rights and comments come as statements, too, but not without DDL."""
    pair = world.pair(options=("--accept", "large-objects"))
    pair.on_source("SELECT lo_from_bytea(g, convert_to('object ' || g, 'UTF8')) FROM generate_series(50001, 51203) g")
    pair.on_source("SELECT lo_create(40000); COMMENT ON LARGE OBJECT 50002 IS 'x'; GRANT SELECT ON LARGE OBJECT 50005 TO PUBLIC")
    pair.pgtide.follow(*how)
    assert large_objects(pair.source) == large_objects(pair.target)
    pair.on_source("SELECT lo_put(50001, 3, 'changed'); SELECT lo_unlink(50600), lo_unlink(51203); SELECT lo_from_bytea(60000, 'new')")
    pair.on_source("SELECT lo_put(40000, 0, 'full'); SELECT lo_truncate(lo_open(50003, x'60000'::int), 0)")
    pair.on_source("GRANT SELECT ON LARGE OBJECT 50500 TO PUBLIC; COMMENT ON LARGE OBJECT 50004 IS 'y;'")
    pair.on_source("REVOKE SELECT ON LARGE OBJECT 50005 FROM PUBLIC; COMMENT ON LARGE OBJECT 50002 IS NULL; REVOKE UPDATE ON LARGE OBJECT 50006 FROM postgres")
    pair.finish()
    assert large_objects(pair.source) == large_objects(pair.target)


def test_large_objects_that_may_not_be_read_are_named_before_anything_begins(world: World):
    pair = world.pair()
    pair.source.execute("CREATE ROLE plain LOGIN REPLICATION", "app")
    pair.on_source("SELECT lo_create(7); GRANT CREATE ON DATABASE app TO plain")
    pgtide = world.pgtide(pair.source.dsn("app", user="plain"), pair.target.dsn("app"))
    done = pgtide.call("check")
    assert done.status == REFUSED and "GRANT SELECT ON LARGE OBJECT 7 TO \"plain\"" in done.out, done


def test_rows_of_an_extensions_configuration_tables_come_along(world: World):
    """No extension of PostgreSQL itself has one, so both sides get one that was added by hand."""
    pair = world.pair(options=("--if-not-empty", "merge"))
    make = """CREATE EXTENSION hstore; CREATE TABLE settings (name text PRIMARY KEY, value text, is_ours boolean); CREATE SEQUENCE config_seq;
        ALTER EXTENSION hstore ADD TABLE settings; ALTER EXTENSION hstore ADD SEQUENCE config_seq; INSERT INTO settings VALUES ('built in', 'x', false);
        UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass, 'config_seq'::regclass]::oid[], extcondition = ARRAY['WHERE is_ours', '']
        WHERE extname = 'hstore'"""
    for cluster in (pair.source, pair.target):
        cluster.execute(make, "app")
    pair.on_source("INSERT INTO settings VALUES ('mine', 'y', true); SELECT setval('config_seq', 42)")
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.pgtide.follow()
    rows = "SELECT * FROM settings ORDER BY 1"
    assert pair.source.query(rows, "app") == pair.target.query(rows, "app")
    pair.on_source("INSERT INTO settings VALUES ('later', 'z', true)")
    pair.pgtide.finish()
    assert pair.source.query(rows, "app") == pair.target.query(rows, "app")
    assert pair.target_value("SELECT last_value FROM config_seq") == 42


def test_a_killed_copy_of_large_objects_goes_on(world: World):
    pair = world.pair(options=("--accept", "large-objects"))
    pair.on_source("SELECT lo_from_bytea(g, convert_to('object ' || g, 'UTF8')) FROM generate_series(50001, 51203) g")
    pair.pgtide.start("--until", "caught-up", faults="large_objects.before_commit=crash@2").wait()
    pair.pgtide.sync()
    assert large_objects(pair.source) == large_objects(pair.target)


def test_a_cutovers_freeze_of_the_source_is_not_carried(world: World):
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); ALTER DATABASE app SET default_transaction_read_only = on; ALTER DATABASE app SET work_mem = '9MB'")
    pair.pgtide.sync()
    assert pair.target_value("SHOW work_mem") == "9MB"
    assert pair.target_value("SHOW default_transaction_read_only") == "off"
    assert_equal(pair.source, pair.target, "app")
    assert pair.pgtide.call("status").status == OK
