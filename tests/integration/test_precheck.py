"""Each item of the precheck on real servers: what makes it pass, what makes it fail or alarm, and that the fix it prints is right.

    source (a database a test) ── pgtide check ── target; poor: a target with little of everything

Where no server at hand is of the kind that is needed, one lies: a function of its catalog is replaced in the test's database.
"""

from __future__ import annotations

import json
import re
import os
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.pgtide import OK, REFUSED, Done, Pgtide
from harness.wait import wait_until
from harness.world import World

LIE = """
SET allow_system_table_mods = on;
ALTER FUNCTION pg_catalog.{function}({arguments}) RENAME TO honest_{function};
CREATE FUNCTION pg_catalog.{function}({arguments}) RETURNS {result} STABLE LANGUAGE plpgsql AS $$BEGIN {body} END$$;
"""


def lie_about(setting: str, value: str) -> str:
    body = f"RETURN CASE $1 WHEN '{setting}' THEN '{value}' ELSE pg_catalog.honest_current_setting($1) END;"
    return LIE.format(function="current_setting", arguments="text", result="text", body=body)


AN_HOUR_LATER = LIE.format(function="clock_timestamp", arguments="", result="timestamptz", body="RETURN now() + interval '1 hour';")
IN_RECOVERY = LIE.format(function="pg_is_in_recovery", arguments="", result="boolean", body="RETURN true;")


class Case:
    """A database of its own on both servers."""

    def __init__(self, rig: "Rig", name: str, poor: bool) -> None:
        self.name = name
        self.source, self.target = rig.source, rig.poor if poor else rig.target
        self.source.create_database(name)
        self._world = rig.world
        self.pgtide = self.as_users()

    def as_users(self, source: str = "postgres", target: str = "postgres", database: str = "") -> Pgtide:
        self.pgtide = self._world.pgtide(self.source.dsn(self.name, user=source), self.target.dsn(database or self.name, user=target))
        return self.pgtide

    def on_source(self, sql: str) -> None:
        self.source.execute(sql, self.name)

    def on_target(self, sql: str) -> None:
        if not self.target.query(f"SELECT FROM pg_database WHERE datname = '{self.name}'"):
            self.target.create_database(self.name)
        self.target.execute(sql, self.name)

    def check(self, *options: str, **environment: str) -> dict[str, dict[str, Any]]:
        done = self.pgtide.call("check", "--json", *options, **environment)
        assert done.status in (OK, REFUSED) and done.out, done
        items = {item["id"]: item for item in json.loads(done.out)["items"]}
        wrong = [item["reason"] for item in items.values() if ONE_OF_MANY.search(str(item["reason"]))]
        assert not wrong, f"one is no plural: {wrong}"
        return items

    def finds(self, item: str, result: str, *said: str, options: tuple[str, ...] = (), **environment: str) -> dict[str, Any]:
        found = self.check(*options, **environment)[item]
        text = "\n".join(str(found[member]) for member in ("reason", "objects", "fix"))
        assert found["result"] == result, found
        for words in said:
            assert words in text, f"{words!r} is not in {text}"
        return found

    def run_fix(self, found: dict[str, Any]) -> None:
        """As a DBA would: what stands under the finding, pasted into psql by a superuser."""
        side, *statements = found["fix"].split("\n")
        cluster = self.source if "source" in side else self.target
        cluster.execute("\n".join(statements), self.name)


# "1 tables", "1 more sessions", "1 are", but not "1 is" and "1 table has"
ONE_OF_MANY = re.compile(r"(?<![\w.,])1 (?:are|have|do|(?:other |more |unlogged |foreign )?(?!is\b|has\b|does\b|of\b)\w+s)\b")


class Rig:
    def __init__(self, world: World) -> None:
        self.world = world
        self.source: Cluster = world.cluster("source", max_prepared_transactions=10)
        self.target: Cluster = world.cluster("target")
        self.poor: Cluster = world.cluster("poor", max_worker_processes=0, max_locks_per_transaction=10, max_connections=20,
                                           max_logical_replication_workers=0)
        for cluster in (self.source, self.target):
            cluster.execute("CREATE ROLE modest LOGIN REPLICATION; CREATE ROLE owner LOGIN CREATEDB")
        self._n = 0

    def case(self, poor: bool = False) -> Case:
        self._n += 1
        return Case(self, f"case{self._n}", poor)

    def set(self, cluster: Cluster, **settings: str) -> None:
        """By reload; waits until it is in force."""
        for name, value in settings.items():
            cluster.execute(f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}")
        cluster.execute("SELECT pg_reload_conf()")
        for name, value in settings.items():
            wait_until(lambda name=name, value=value: (cluster.value(f"SHOW {name}") == value) == bool(value), 10, f"{name} is set")


@pytest.fixture(scope="module")
def rig(shared_world: World) -> Rig:
    return Rig(shared_world)


@pytest.fixture
def case(rig: Rig) -> Case:
    return rig.case()


def test_a_healthy_pair_passes_every_item(case: Case):
    case.on_source("CREATE TABLE t (a serial PRIMARY KEY, b text, m money); CREATE TABLE r (a integer PRIMARY KEY) PARTITION BY RANGE (a);"
                   "CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9); CREATE TABLE child () INHERITS (t); ALTER TABLE child ADD PRIMARY KEY (a)")
    case.on_target("")
    for database in (case.name, f"{case.name}_new"):  # there and empty, and to be created
        case.as_users(database=database)
        found = case.check()
        assert {name for name, item in found.items() if item["result"] != "PASSED"} == set()
    assert len(found) >= 40
    assert "1 partitioned table, 1 partition, 1 inheriting table" in found["partitions"]["reason"]
    assert "are free" in found["target-disk"]["reason"] or os.getuid() != 0
    assert not case.target.query(f"SELECT FROM pg_database WHERE datname = '{case.name}_new'")


# What each item finds: (item, result, on the source, on the target, what is said).
FINDINGS = [
    ("versions", "ALARM", "", lie_about("server_version_num", "110000"), ["older than source"]),
    ("versions", "ALARM", "", lie_about("server_version_num", "990000"), ["not tested"]),
    ("versions", "FAILED", lie_about("server_version_num", "90600"), "", ["not supported"]),
    ("block-size", "FAILED", "", lie_about("block_size", "4096"), ["4096"]),
    ("target-settings", "ALARM", "", lie_about("max_connections", "5"), ["ALTER SYSTEM SET max_connections"]),
    ("target-settings", "FAILED", "", IN_RECOVERY, ["standby"]),
    ("source-standby", "FAILED", IN_RECOVERY, "", ["standby", "address of the primary", "before PostgreSQL 16"]),
    ("unlogged-tables", "FAILED", "CREATE UNLOGGED TABLE u (a integer PRIMARY KEY);" + IN_RECOVERY, "", ['"public"."u"', "a standby has none of their rows"]),
    ("source-locks", "ALARM", "CREATE TABLE t (a integer PRIMARY KEY); " + lie_about("max_locks_per_transaction", "0"), "",
     ["ALTER SYSTEM SET max_locks_per_transaction"]),
    ("time-zone", "ALARM", "", "ALTER DATABASE {database} SET timezone = 'Asia/Kolkata'", ["Asia/Kolkata", "ALTER DATABASE", "SET TimeZone = 'UTC'"]),
    ("lc-monetary", "ALARM", "CREATE TABLE t (a integer PRIMARY KEY, price money)", lie_about("lc_monetary", "ja_JP.utf8"), ["public.t", "ja_JP"]),
    ("lc-monetary", "PASSED", "CREATE TABLE t (a integer PRIMARY KEY)", lie_about("lc_monetary", "ja_JP.utf8"), ["no table holds money"]),
    ("generated-identity", "FAILED", "CREATE TABLE t (a integer, b integer GENERATED ALWAYS AS (a / 10) STORED PRIMARY KEY)", "",
     ['"public"."t"', "REPLICA IDENTITY FULL"]),
    ("partitions", "ALARM", "CREATE TABLE r (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9);"
     "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'r1'::regclass", "", ["public.r1", "FINALIZE"]),
    ("partitions", "ALARM", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE TABLE r (a integer) PARTITION BY RANGE (a);"
     "CREATE FOREIGN TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9) SERVER s", "", ["public.r1", "foreign"]),
    ("foreign-tables", "ALARM", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (a integer) SERVER s", "",
     ["public.f"]),
    ("tablespaces", "ALARM", "SET allow_in_place_tablespaces = on; -- alone:CREATE TABLESPACE apart LOCATION ''\nCREATE TABLE t (a integer PRIMARY KEY) TABLESPACE apart",
     "", ["apart"]),
    ("reserved-schema", "ALARM", "CREATE SCHEMA pgtide; CREATE TABLE pgtide.task (a int); CREATE TABLE pgtide.mine (a integer PRIMARY KEY)", "", ["pgtide.mine", "SET SCHEMA"]),
    ("unlogged-tables", "ALARM", "CREATE UNLOGGED TABLE u (a integer PRIMARY KEY)", "", ['"public"."u"', "SET LOGGED"]),
    ("libraries", "FAILED", "CREATE FUNCTION own() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';"
     "UPDATE pg_proc SET probin = '$libdir/not_there' WHERE proname = 'own'", "", ["$libdir/not_there"]),
    ("libraries", "PASSED", "CREATE FUNCTION own() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'", "", ["the only one is there"]),
    ("extensions", "FAILED", "UPDATE pg_extension SET extname = 'not_there'", "", ["not_there"]),
    ("extension-versions", "ALARM", "UPDATE pg_extension SET extversion = '99.0'", "", ["plpgsql", "99.0 on the source", "ALTER EXTENSION"]),
    ("collation", "ALARM", "CREATE TABLE t (a text COLLATE \"de-x-icu\" PRIMARY KEY); UPDATE pg_collation SET collversion = '1' WHERE collname = 'de-x-icu'", "",
     ["de-x-icu", "REINDEX"]),
    ("target-empty", "FAILED", "CREATE TABLE t (a integer PRIMARY KEY)", "CREATE VIEW t AS SELECT 1", ["1 object of the same name exists"]),
    ("target-writers", "FAILED", "CREATE TABLE t (a integer PRIMARY KEY)", "CREATE TABLE t (a integer PRIMARY KEY);"
     "CREATE SUBSCRIPTION other CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false);"
     "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, 't'::regclass, 'r' FROM pg_subscription WHERE subname = 'other';"
     "UPDATE pg_subscription SET subenabled = true WHERE subname = 'other'", ["public.t", "ALTER SUBSCRIPTION other DISABLE"]),
]


@pytest.mark.parametrize("item, result, on_source, on_target, said", FINDINGS, ids=[f"{f[0]}-{f[1]}-{n}" for n, f in enumerate(FINDINGS)])
def test_what_an_item_finds(case: Case, item: str, result: str, on_source: str, on_target: str, said: list[str]):
    if "-- alone:" in on_source:  # what is refused in a transaction block
        with case.source.connect(case.name) as session:
            for statement in on_source.replace("-- alone:", "").replace("''\n", "'';").split(";"):
                session.execute(statement)
    elif on_source:
        case.on_source(on_source)
    case.on_target(on_target.replace("{database}", case.name))
    case.finds(item, result, *said)
    if item == "target-writers":
        case.on_target("UPDATE pg_subscription SET subenabled = false WHERE subname = 'other'")
        case.finds(item, "PASSED")


def test_the_encoding_and_the_collation_of_a_database_that_is_there(case: Case):
    case.target.create_database(case.name, "TEMPLATE template0 ENCODING LATIN1")
    case.finds("encoding", "FAILED", "LATIN1", "ENCODING 'UTF8'")
    case.target.execute(f"DROP DATABASE {case.name}")
    case.target.create_database(case.name, "TEMPLATE template0 LC_CTYPE 'C.UTF-8'")
    case.finds("collation", "ALARM", "C.UTF-8", "drop the target's database")
    case.finds("encoding", "PASSED")


def test_rights_on_the_source_are_named_one_by_one_and_the_fix_is_all_that_is_needed(case: Case):
    case.on_source('CREATE SCHEMA "Hidden"; CREATE TABLE "Hidden"."T 1" (a serial PRIMARY KEY); CREATE TABLE t (a serial PRIMARY KEY)')
    case.as_users("modest")
    found = case.finds("source-privileges", "FAILED", 'GRANT USAGE ON SCHEMA "Hidden" TO "modest";', 'GRANT SELECT ON TABLE "Hidden"."T 1" TO "modest";',
                       'GRANT SELECT ON SEQUENCE public.t_a_seq TO "modest";', "-- on the source")
    assert found["objects"] == ['"Hidden"."T 1"', '"Hidden"."T 1_a_seq"', "public.t", "public.t_a_seq"]
    assert found["safe_fixes"] == 5
    refused = case.pgtide.call("check", "--fix")  # who lacks a right cannot give it: said, and nothing else happens
    assert refused.status == REFUSED and "permission denied" in refused.out, refused
    case.run_fix(found)
    case.finds("source-privileges", "PASSED", "test_decoding")
    case.finds("source-ddl", "ALARM", "event triggers", "--no-ddl")
    case.finds("output-plugin", "PASSED", "test_decoding is there")
    assert case.source.query("SELECT slot_name FROM pg_replication_slots") == []


def test_without_publication_the_output_plugin_must_be_there(rig: Rig, case: Case):
    case.on_source("CREATE TABLE t (a integer PRIMARY KEY); GRANT SELECT ON t TO modest")
    case.as_users("modest")
    rig.set(case.source, dynamic_library_path="/nowhere")
    try:
        case.finds("output-plugin", "FAILED", "test_decoding", "postgresql-contrib")
    finally:
        rig.set(case.source, dynamic_library_path="")
    assert case.source.query("SELECT slot_name FROM pg_replication_slots") == []


def test_policies_that_would_hide_rows(case: Case):
    case.on_source("CREATE TABLE t (a integer PRIMARY KEY); GRANT SELECT ON t TO modest; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    case.finds("row-security", "PASSED")
    case.as_users("modest")
    found = case.finds("row-security", "FAILED", "public.t", "BYPASSRLS")
    case.run_fix(found)
    case.finds("row-security", "PASSED")
    case.source.execute("ALTER ROLE modest NOBYPASSRLS")


def test_what_a_target_user_without_superuser_cannot_make(case: Case):
    case.target.execute(f"CREATE DATABASE {case.name} OWNER owner")
    case.on_source("CREATE FUNCTION f(integer) RETURNS integer LANGUAGE internal AS 'int4abs'; CREATE EXTENSION pageinspect;"
                   "CREATE AGGREGATE anybodys(integer) (sfunc = int4pl, stype = integer); CREATE TYPE span AS RANGE (subtype = float8);"
                   "CREATE FUNCTION g() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
                   "CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION g(); CREATE FUNCTION h() RETURNS void LANGUAGE sql SET search_path = '' SET \"our.setting\" = 'x' AS '';"
                   "CREATE FUNCTION s(integer) RETURNS SETOF integer LANGUAGE sql SUPPORT generate_series_int4_support AS 'SELECT 1'")
    case.finds("superuser-objects", "PASSED", "3, and user")
    case.finds("extension-versions", "PASSED")
    case.as_users(target="owner")
    case.finds("superuser-objects", "FAILED", "function public.f(integer) in language internal", "event trigger et", "function public.h() sets our.setting",
               "function public.s(integer) with a support function")
    case.finds("extension-versions", "FAILED", "pageinspect", "needs a superuser")
    case.finds("target-privileges", "PASSED", "made at the end")


def test_what_a_target_user_without_superuser_may_not_set(case: Case):
    """And what only missing roles are the reason for, which roles-missing tells."""
    case.on_source("CREATE EXTENSION hstore; CREATE TABLE p (a integer PRIMARY KEY); CREATE TABLE c (a integer PRIMARY KEY, p integer REFERENCES p);"
                   "ALTER TABLE p ENABLE ROW LEVEL SECURITY; ALTER TABLE p FORCE ROW LEVEL SECURITY; CREATE TABLE q (a integer); GRANT CREATE ON SCHEMA public TO owner; ALTER TABLE q OWNER TO owner")
    case.finds("left-out", "PASSED", "nothing")
    case.as_users(target="owner")
    found = case.finds("left-out", "PASSED", "nothing; the database will belong to user \"owner\": role \"postgres\"")
    assert found["objects"] == []
    case.on_source(f"COMMENT ON EXTENSION hstore IS 'ours'; ALTER DATABASE {case.name} SET work_mem = '5MB'; ALTER DATABASE {case.name} SET our.setting = '1'; ALTER DATABASE {case.name} SET log_statement = 'all';"
                   "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO owner; ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO modest;"
                   "GRANT SELECT (a), INSERT ON q TO modest WITH GRANT OPTION; SET ROLE modest; GRANT SELECT (a), INSERT ON q TO postgres; RESET ROLE;"
                   f"GRANT EXECUTE ON FUNCTION pg_read_file(text) TO owner; GRANT EXECUTE ON FUNCTION hstore_to_json(hstore) TO owner; GRANT CONNECT ON DATABASE {case.name} TO modest WITH GRANT OPTION;"
                   f"SET ROLE modest; GRANT CONNECT ON DATABASE {case.name} TO owner; RESET ROLE; CREATE PUBLICATION \"Their pub\"")
    found = case.finds("left-out", "ALARM", "9 things may not be set", "not carried: publication \"Their pub\"")
    assert [line.split(" SET ", 1)[1] for line in found["objects"][:2]] == [
        "\"our.setting\" TO '1': the target does not know it, so only a superuser or who was granted SET on it may set it",
        "log_statement TO 'all': only a superuser or who was granted SET on it may set it"]
    assert found["objects"][2:] == ['comment of extension "hstore": ours', 'default privileges of role "postgres"', "rights on function pg_read_file(text), which belongs to the system or an extension",
                                    "rights on function public.hstore_to_json(public.hstore), which belongs to the system or an extension", 'that "modest" granted rights on column a of table public.q: its owner does',
                                    f'that "modest" granted rights on database {case.name}: its owner does',
                                    'that "modest" granted rights on table public.q: its owner does']
    case.as_users()
    case.finds("left-out", "PASSED")
    case.source.execute(f"CREATE ROLE only_here; GRANT TEMPORARY ON DATABASE {case.name} TO only_here; ALTER ROLE only_here IN DATABASE {case.name} SET work_mem = '6MB'")
    case.finds("left-out", "PASSED")
    assert case.finds("roles-missing", "ALARM")["objects"] == ['"only_here"']
    case.source.execute(f"REVOKE ALL ON DATABASE {case.name} FROM only_here; ALTER ROLE only_here IN DATABASE {case.name} RESET ALL; DROP ROLE only_here")
    case.finds("roles-missing", "PASSED")


def test_schemas_and_tables_of_others_on_the_target(case: Case):
    case.on_source("CREATE SCHEMA s; CREATE TABLE s.t (a integer PRIMARY KEY); CREATE TABLE mine (a integer PRIMARY KEY)")
    case.on_target("CREATE SCHEMA s; CREATE TABLE s.t (a integer PRIMARY KEY); GRANT ALL ON SCHEMA public TO owner")
    case.as_users(target="owner")
    found = case.finds("target-privileges", "FAILED", 'GRANT SET ON PARAMETER session_replication_role TO "owner";',
                       f'GRANT CREATE ON DATABASE "{case.name}" TO "owner";', options=("--if-not-empty", "merge"))
    case.run_fix(found)
    case.finds("target-privileges", "PASSED", options=("--if-not-empty", "merge"))
    found = case.finds("target-objects", "FAILED", 'GRANT USAGE, CREATE ON schema s TO "owner";',
                       'GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON table s.t TO "owner";')
    assert found["objects"] == ["schema s", "table s.t"]
    case.run_fix(found)
    case.finds("target-objects", "PASSED")


def test_settings_of_the_source_that_end_a_slot_or_its_sender(rig: Rig, case: Case):
    rig.set(case.source, max_slot_wal_keep_size="32MB", wal_sender_timeout="2s")
    try:
        case.finds("source-wal-keep", "ALARM", "max_slot_wal_keep_size", "32 MB")
        case.finds("source-sender-timeout", "ALARM", "2000 ms", "ALTER SYSTEM SET wal_sender_timeout")
    finally:
        rig.set(case.source, max_slot_wal_keep_size="", wal_sender_timeout="")
    case.finds("source-wal-keep", "PASSED", "no limit")
    case.finds("source-sender-timeout", "PASSED", "60 s")


def test_a_target_with_little_of_everything(rig: Rig):
    case = rig.case(poor=True)
    case.finds("target-limits", "ALARM", "max_worker_processes")
    case.on_source("CREATE TABLE r (a integer PRIMARY KEY) PARTITION BY RANGE (a);"
                   "DO $$BEGIN FOR i IN 1..120 LOOP EXECUTE format('CREATE TABLE r%s PARTITION OF r FOR VALUES FROM (%s) TO (%s)', i, i, i + 1); END LOOP; END$$")
    with case.source.connect(case.name, autocommit=False) as session:
        session.execute("INSERT INTO r VALUES (1)")
        session.execute("PREPARE TRANSACTION 'left alone'")
    case.finds("target-limits", "ALARM", "242 locks", "max_locks_per_transaction = ", "max_prepared_transactions = 51", "restart the target")
    case.finds("long-transactions", "PASSED")  # it is young
    case.on_source(AN_HOUR_LATER)
    case.finds("long-transactions", "ALARM", "left alone", "ROLLBACK PREPARED")
    case.source.execute("ROLLBACK PREPARED 'left alone'", case.name)
    with case.source.connect(case.name, autocommit=False) as session:
        session.execute("INSERT INTO r VALUES (1)")
        case.finds("long-transactions", "ALARM", f"pid {session.info.backend_pid}")
    case.finds("long-transactions", "PASSED")


def test_a_target_without_room(case: Case):
    case.on_source("CREATE TABLE big (a integer PRIMARY KEY) WITH (autovacuum_enabled = false); CHECKPOINT")
    heap = case.source.data / case.source.value("SELECT pg_relation_filepath('big')", case.name)
    os.truncate(heap, 1 << 42)  # sparse: nobody reads it, it only seems large
    case.finds("target-disk", "ALARM", "4096.0 GB of rows", "make room")
    os.truncate(heap, 0)
    case.finds("target-disk", "PASSED", "are free")


def test_rows_that_are_too_long(case: Case):
    """370 million bytes, packed into 4 by the server: three columns are more than a row may have on its way."""
    case.on_source("CREATE TABLE long (a integer PRIMARY KEY, b text, c text, d varchar); CREATE TABLE digits (a integer PRIMARY KEY, b bytea, c bytea);"
                   "INSERT INTO digits VALUES (1, convert_to(repeat('x', 370000000), 'UTF8'), NULL)")
    case.finds("long-rows", "PASSED", "none in the 1 table with")
    case.on_source("UPDATE digits SET c = b")
    case.finds("long-rows", "ALARM", '"public"."digits"', "as text")
    case.on_source("INSERT INTO long SELECT 1, convert_from(b, 'UTF8') FROM digits; UPDATE long SET c = b; UPDATE long SET d = c")
    case.finds("long-rows", "FAILED", '"public"."long"', '"public"."digits"', "more than 1 GB")


def test_pg_dump_is_not_there(case: Case):
    case.finds("pg-dump", "FAILED", f"postgresql-client-{case.source.installation.major}", PGTIDE_PG_BINDIR="/nowhere")


def test_temporary_tables_are_told_of(case: Case):
    with case.source.connect(case.name) as session:
        session.execute("CREATE TEMPORARY TABLE passing (a integer)")
        case.finds("unlogged-tables", "PASSED", "1 temporary tables belong to sessions")


def test_fix_runs_what_is_safe_and_says_what_it_did(case: Case):
    case.on_source('CREATE TABLE "No Key" (a integer); CREATE UNLOGGED TABLE u (a integer PRIMARY KEY);'
                   "CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a) STORED PRIMARY KEY)")
    case.finds("replica-identity", "ALARM")
    done = case.pgtide.call("check", "--fix", "--json")
    assert done.status == REFUSED, done  # SET LOGGED writes the whole table anew under a lock: not safe, so not done
    document = json.loads(done.out)
    assert [(fix["id"], fix["side"], fix["sql"], fix["done"]) for fix in document["fixes"]] == [
        ("replica-identity", "source", 'ALTER TABLE "public"."No Key" REPLICA IDENTITY FULL', True),
        ("generated-identity", "source", 'ALTER TABLE "public"."g" REPLICA IDENTITY FULL', True),
    ]
    results = {item["id"]: item["result"] for item in document["items"]}
    assert (results["replica-identity"], results["generated-identity"], results["unlogged-tables"]) == ("PASSED", "PASSED", "ALARM")
    assert case.source.query("SELECT relpersistence::text FROM pg_class WHERE relname = 'u'", case.name) == [("u",)]


def test_fix_does_not_wait_for_the_application(case: Case):
    case.on_source("CREATE TABLE no_key (a integer)")
    with case.source.connect(case.name, autocommit=False) as session:
        session.execute("SELECT * FROM no_key")  # an ACCESS SHARE lock is enough to be in the way
        done = case.pgtide.call("check", "--fix")
    assert done.status == REFUSED and "lock timeout" in done.out, done
    done = case.pgtide.call("check", "--fix")
    assert done.status == OK and "done by --fix" in done.out, done


def report(done: Done) -> str:
    return done.out + done.err


def test_the_report_says_what_to_do_next(case: Case):
    case.on_source("CREATE TABLE no_key (a integer); CREATE UNLOGGED TABLE u (a integer PRIMARY KEY)")
    done = case.pgtide.call("check")
    assert done.status == REFUSED, done
    assert "--accept replica-identity,unlogged-tables" in done.out and "--fix runs 1 statement" in done.out, done
    assert case.pgtide.call("check", "--accept", "replica-identity,unlogged-tables").status == OK
    assert case.pgtide.call("check", "--skip-check", "replica-identity", "--accept", "all").status == OK
    for command, option in (("check", "--skip-check"), ("check", "--accept"), ("sync", "--accept")):
        refused = case.pgtide.call(command, option, "replica-identty")
        assert refused.status == 2 and 'did you mean "replica-identity"' in report(refused), refused
    assert "no such check" in report(case.pgtide.call("check", "--skip-check", "nonsense"))


def test_who_accepted_an_alarm_is_recorded(case: Case):
    case.on_source("CREATE TABLE no_key (a integer)")
    case.pgtide.sync("--accept", "replica-identity")
    (file,) = case.pgtide.state_dir.glob("*/accepted")
    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert line["item"] == "replica-identity" and line["who"] and line["at"].endswith("Z") and line["objects"] == 1, line
    (log,) = case.pgtide.state_dir.glob("*/log")
    assert 'alarm "replica-identity" of the precheck was accepted by' in log.read_text()
