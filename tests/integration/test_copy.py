"""The copy itself: its speed, its progress, what it does about encodings, policies, foreign keys and changes of the structure.

    source ── pgtide ──▶ target
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest
from harness.cluster import Cluster
from harness.pgtide import FAILED, OK, REFUSED, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

MB = 1024 * 1024


def status(pair: Pair) -> dict[str, Any]:
    done = pair.pgtide.call("status", "--json")
    return json.loads(done.out) if done.status == OK else {}


def fill_rows(pair: Pair, table: str, rows: int, width: int = 1000) -> None:
    pair.on_source(f"CREATE TABLE {table} (id integer PRIMARY KEY, v text); ALTER TABLE {table} ALTER v SET STORAGE EXTERNAL;"
                   f"INSERT INTO {table} SELECT n, repeat(chr(97 + n % 26), {width}) FROM generate_series(1, {rows}) n; ANALYZE {table}")


def test_the_speed_is_limited_and_changed_while_it_runs(world: World):
    pair = world.pair(options=("--jobs", "3"))
    for table in ("one", "two", "three"):
        fill_rows(pair, table, 12_000)
    assert pair.pgtide.call("sync", "--max-rate", "0").status == USAGE
    nobody = pair.pgtide.call("speed", "20")
    assert nobody.status == FAILED and "no sync" in nobody.err, nobody
    pair.pgtide.start("--max-rate", "1")
    wait_until(lambda: status(pair).get("bytes_copied", 0) > MB, 30, "rows are copied")
    before, began = status(pair), time.monotonic()
    assert before["max_rate_mb"] == 1 and before["snapshot_age_seconds"] is not None, before
    let_pass(4)
    after, seconds = status(pair), time.monotonic() - began
    assert 0.5 * seconds * MB < after["bytes_copied"] - before["bytes_copied"] < 1.5 * seconds * MB + MB, (before["bytes_copied"], after["bytes_copied"], seconds)
    assert after["snapshot_age_seconds"] >= 4 and after["phase"] == "data"
    assert "limit" in pair.pgtide.call("status").out
    early = pair.pgtide.call("cutover", "--yes", "--json", deadline_s=20)
    assert early.status == REFUSED and {item["id"]: item["result"] for item in json.loads(early.out)["checklist"]}["delay"] == "SKIPPED", early
    stop = pair.pgtide.begin("stop")
    wait_until(lambda: "has not copied everything yet" in stop.err, 30, "a stop says what is done before")
    stop.kill()
    changed = pair.pgtide.call("speed", "500,off@12:00-13:00", "--json")
    assert changed.status == OK and json.loads(changed.out) == {"max_rate": "500,off@12:00-13:00"}
    pair.pgtide.run.expect(OK, 30)
    pair.assert_equal()
    pair.assert_nothing_left()


def test_a_full_copy_ends_by_itself(world: World):
    """Without logical decoding, and with a kill in the middle: finished tables stay."""
    pair = world.pair(source_settings={"wal_level": "replica", "max_replication_slots": 0}, options=("--type", "full", "--populate-matviews")).fill_shop()
    pair.on_source("CREATE SEQUENCE extra; SELECT nextval('extra') FROM generate_series(1, 42); CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one")
    killed = pair.pgtide.start("--jobs", "1", faults="copy.before_commit=crash@3")
    killed.wait(60)
    assert pair.pgtide.status()["state"] == "interrupted" and pair.pgtide.status()["tables"]["done"] > 0
    run = pair.pgtide.start("--json").expect(OK, 90)
    done = run.events()[-1]
    assert "slot" not in run.err, run.err
    assert done["event"] == "done" and done["compared"] > 10 and done["compared_different"] == 0, done
    assert all(step["percent"] == 100 for step in done["steps"].values()), done["steps"]
    pair.assert_equal()
    pair.assert_nothing_left()
    assert pair.target_value("SELECT count(*) FROM mv") == 1
    assert pair.target_value("SELECT count(*) FROM pg_stat_user_tables WHERE last_analyze IS NULL AND n_live_tup > 0") == 0
    assert pair.pgtide.status()["state"] == "completed"


def test_rows_that_break_a_foreign_key_are_shown_and_stop_nothing(world: World):
    pair = world.pair()
    pair.on_source("""
        CREATE TABLE parent (a integer, b text, PRIMARY KEY (a, b)); INSERT INTO parent VALUES (1, 'x');
        CREATE TABLE whole (id integer PRIMARY KEY, a integer, b text, FOREIGN KEY (a, b) REFERENCES parent MATCH FULL);
        CREATE TABLE "bad Child" (id integer PRIMARY KEY, a integer, b text, CONSTRAINT "to Parent" FOREIGN KEY (a, b) REFERENCES parent);
        CREATE TABLE parts (id integer, a integer, b text, CONSTRAINT parts_fk FOREIGN KEY (a, b) REFERENCES parent) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF parts DEFAULT; ALTER TABLE parts ADD PRIMARY KEY (id);
        CREATE TABLE good (id integer PRIMARY KEY, a integer, b text, FOREIGN KEY (a, b) REFERENCES parent); INSERT INTO good VALUES (1, 1, 'x'), (2, NULL, 'y');
        SET session_replication_role = replica;
        INSERT INTO whole VALUES (1, 1, NULL), (2, 1, 'x'); INSERT INTO "bad Child" VALUES (1, 7, 'gone'), (2, 8, 'gone'), (3, 1, 'x'); INSERT INTO parts VALUES (5, 9, 'gone')""")
    run = pair.pgtide.follow()
    assert status(pair)["broken_foreign_keys"] == 3
    told = run.out + run.err
    for words in ("bad Child to Parent", "2 rows of table public.\"bad Child\"", "(7,gone)", "1 row of table public.whole", "(1,)", "stays NOT VALID", "public.parts", "left out on the target"):
        assert words in told, (words, told)
    found = pair.target_value("SELECT string_agg(conname || ' ' || convalidated, ', ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f'")
    assert found == "good_a_b_fkey true, to Parent false, whole_a_b_fkey false"
    pair.on_source("INSERT INTO good VALUES (3, 1, 'x')")
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    pair.assert_nothing_left()


ALTERED = {  # by table: what happens to it between the snapshot and its copy
    "added": "ALTER TABLE added ADD c integer DEFAULT 7, ADD d integer; UPDATE added SET d = id WHERE id < 10",
    "computed": "ALTER TABLE computed ADD c double precision DEFAULT random()",
    "dropped_column": "ALTER TABLE dropped_column DROP extra; INSERT INTO dropped_column VALUES (100001, 'x')",
    "converted": "ALTER TABLE converted ALTER extra TYPE integer USING extra + 1000; UPDATE converted SET extra = 5 WHERE id = 5",
    "retyped": "ALTER TABLE retyped ALTER extra TYPE text USING 'v' || extra; INSERT INTO retyped VALUES (100001, 'x', 'y')",
    "emptied": "TRUNCATE emptied; INSERT INTO emptied VALUES (1, 'a', 1)",
    "dropped": "UPDATE dropped SET v = 'last' WHERE id = 1; DROP TABLE dropped",
    "made_again": "DELETE FROM made_again WHERE id < 100; DROP TABLE made_again; CREATE TABLE made_again (id integer PRIMARY KEY, w text); INSERT INTO made_again VALUES (1, 'n')",
    "renamed": "ALTER TABLE renamed RENAME TO other_name; INSERT INTO other_name VALUES (100001, 'x', 1)",
    "column_renamed": "ALTER TABLE column_renamed RENAME extra TO other; DELETE FROM column_renamed WHERE id = 3",
    "moved": "CREATE SCHEMA s; ALTER TABLE moved SET SCHEMA s; UPDATE s.moved SET v = 'moved' WHERE id = 8",
    "swapped_a": "BEGIN; ALTER TABLE swapped_a RENAME TO tmp; ALTER TABLE swapped_b RENAME TO swapped_a; ALTER TABLE tmp RENAME TO swapped_b; COMMIT; INSERT INTO swapped_a VALUES (100001, 'x', 1)",
    "swapped_b": "INSERT INTO swapped_b VALUES (100002, 'y', 1)",
    "keyed": "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey; ALTER TABLE keyed ADD PRIMARY KEY (id, extra); DROP INDEX keyed_v_idx",
    "attached": "CREATE TABLE whole (id integer, v text, extra integer, PRIMARY KEY (id)) PARTITION BY RANGE (id); ALTER TABLE whole ATTACH PARTITION attached FOR VALUES FROM (0) TO (1000000); INSERT INTO whole VALUES (100001, 'x', 1)",
    "rewritten": "VACUUM FULL rewritten; UPDATE rewritten SET v = 'v' WHERE id = 2",
    "copied_from": "CREATE TABLE copy_of AS SELECT * FROM copied_from; ALTER TABLE copy_of ADD PRIMARY KEY (id); UPDATE copy_of SET v = 'c' WHERE id = 1",
    "parted": "ALTER TABLE parted ADD note text; UPDATE parted SET note = 'n' WHERE id % 2 = 0; TRUNCATE parted_2; INSERT INTO parted VALUES (1500, 'again', 2, 'n')",
}


def test_the_structure_changes_during_the_copy(world: World):
    """F11, G3: what the target has not followed yet is put off."""
    pair = world.pair(options=("--jobs", "1", "--accept", "all"))
    fill_rows(pair, "a_large_one", 30_000)  # half a minute at that speed: long enough for a busy machine to alter all
    for name in ALTERED.keys() - {"parted"}:
        pair.on_source(f"CREATE TABLE {name} (id integer PRIMARY KEY, v text, extra integer); CREATE INDEX ON {name} (v); INSERT INTO {name} SELECT n, 'v' || n, n FROM generate_series(1, 500) n")
    pair.on_source("CREATE TABLE parted (id integer PRIMARY KEY, v text, extra integer) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);"
                   "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000); INSERT INTO parted SELECT n, 'v', n FROM generate_series(1, 1999) n")
    run = pair.pgtide.start("--max-rate", "1")
    wait_until(lambda: status(pair).get("bytes_copied", 0) > 0, 30, "rows are copied")
    with pair.source.connect(pair.database) as session:
        for statements in ALTERED.values():
            for statement in statements.split("; "):
                session.execute(statement)
    assert status(pair)["phase"] == "data"
    assert pair.pgtide.call("speed", "off").status == OK
    wait_until(lambda: not run.is_running or pair.pgtide.phase() == "incremental", 60, "it follows")
    log = "".join(path.read_text() for path in pair.pgtide.state_dir.glob("*/log"))
    assert "it is copied when the target has followed" in log
    with pair.source.connect(pair.database) as session:
        session.execute("UPDATE converted SET extra = extra + 1 WHERE id < 20")
        session.execute("DELETE FROM s.moved WHERE id > 400")
        session.execute("INSERT INTO made_again VALUES (2, 'm')")
    pair.finish()


def test_what_is_dropped_during_the_copy_and_a_kill(world: World):
    """Nothing of it is left on the source to build from; the statements that dropped it are still to come. Rows that a dropped UNIQUE would refuse are there."""
    pair = world.pair(options=("--jobs", "1", "--accept", "all"))
    fill_rows(pair, "a_large_one", 30_000)
    tables = ("indexed", "unique_once", "keyed", "gone", "gone_child", "replaced")
    for name in tables:
        pair.on_source(f"CREATE TABLE {name} (id integer PRIMARY KEY, v text, n integer); INSERT INTO {name} SELECT n, 'v' || n, n FROM generate_series(1, 300) n; CREATE INDEX ON {name} (v);"
                       f"COMMENT ON INDEX {name}_v_idx IS 'of {name}'; ALTER TABLE {name} ADD CONSTRAINT {name}_u UNIQUE (n)")
    pair.on_source("ALTER TABLE gone_child ADD CONSTRAINT child_fk FOREIGN KEY (n) REFERENCES gone; CREATE STATISTICS st ON id, v FROM gone;"
                   "CREATE TABLE parts (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000); CREATE INDEX parts_v ON parts (v);"
                   "INSERT INTO parts SELECT n, 'v' FROM generate_series(1, 99) n")
    run = pair.pgtide.start("--max-rate", "1")
    wait_until(lambda: status(pair).get("bytes_copied", 0) > 0, 30, "rows are copied")
    with pair.source.connect(pair.database) as session:
        for statement in ("DROP INDEX indexed_v_idx", "ALTER TABLE unique_once DROP CONSTRAINT unique_once_u", "INSERT INTO unique_once VALUES (301, 'again', 1)", "ALTER TABLE keyed DROP CONSTRAINT keyed_u",
                          "DROP TABLE gone_child", "DROP INDEX gone_v_idx", "DROP TABLE gone", "DROP INDEX replaced_v_idx", "CREATE INDEX replaced_v_idx ON replaced (n, v)", "DROP INDEX parts_v",
                          "UPDATE indexed SET v = 'x' WHERE id < 5", "INSERT INTO parts VALUES (500, 'w')"):
            session.execute(statement)
    assert status(pair)["phase"] == "data"
    run.kill()
    pair.pgtide.start("--max-rate", "off")
    pair.pgtide.wait_phase("incremental", 60)
    log = "".join(path.read_text() for path in pair.pgtide.state_dir.glob("*/log"))
    assert "were dropped on the source since the structure was dumped" in log
    pair.on_source("INSERT INTO unique_once VALUES (302, 'after', 1); DELETE FROM parts WHERE id < 10")
    pair.finish()


AFTER_ROWS = (  # what is made only after the rows: dropped, altered and made on the source before that
    "ALTER TABLE fk_dropped DROP CONSTRAINT fk_dropped_fk", "ALTER TABLE fk_renamed RENAME CONSTRAINT fk_renamed_fk TO renamed", "ALTER TABLE fk_moved RENAME TO fk_moved_away",
    "ALTER TABLE fk_altered ALTER CONSTRAINT fk_altered_fk DEFERRABLE", "ALTER TABLE fk_again DROP CONSTRAINT fk_again_fk; ALTER TABLE fk_again ADD CONSTRAINT fk_again_fk FOREIGN KEY (p) REFERENCES parent ON DELETE CASCADE",
    "ALTER TABLE fk_validated VALIDATE CONSTRAINT fk_validated_fk", "ALTER TABLE fk_new ADD CONSTRAINT fk_new_fk FOREIGN KEY (p) REFERENCES late_parent",
    "ALTER TABLE a_large_one ADD CONSTRAINT letters_fk FOREIGN KEY (v) REFERENCES letters",  # one is copied by then, the other only when this is run
    "INSERT INTO late_parent VALUES (1001, 'p'); INSERT INTO fk_new VALUES (1001, 1001)", "DROP TABLE parent_gone CASCADE",
    "ALTER TABLE checked DROP CONSTRAINT checked_1; ALTER TABLE checked VALIDATE CONSTRAINT checked_2", "INSERT INTO checked VALUES (1000, -7)",
    "DROP TRIGGER t_dropped ON acted", "DROP TRIGGER IF EXISTS t_dropped_if ON acted", "ALTER TRIGGER t_renamed ON acted RENAME TO t_other", "ALTER TABLE acted DISABLE TRIGGER t_disabled", "ALTER TABLE acted ENABLE ALWAYS TRIGGER t_always",
    "CREATE OR REPLACE TRIGGER t_replaced AFTER DELETE ON acted FOR EACH ROW EXECUTE FUNCTION act()", "DROP TRIGGER t_again ON acted; CREATE TRIGGER t_again BEFORE UPDATE ON acted FOR EACH STATEMENT EXECUTE FUNCTION act()",
    "ALTER FUNCTION act_renamed RENAME TO act_other", "DROP FUNCTION act_gone CASCADE", "ALTER TABLE acted RENAME COLUMN n TO number",
    "DROP RULE r_dropped ON ruled", "ALTER RULE r_renamed ON ruled RENAME TO r_other", "CREATE OR REPLACE RULE r_replaced AS ON DELETE TO ruled DO INSTEAD NOTHING", "ALTER TABLE ruled DISABLE RULE r_disabled",
    "DROP POLICY p_dropped ON secured", "ALTER POLICY p_renamed ON secured RENAME TO p_other", "ALTER POLICY p_altered ON secured USING (id > 7)", "ALTER TABLE secured DISABLE ROW LEVEL SECURITY", "CREATE POLICY p_new ON secured USING (true)",
    "DROP INDEX mv_dropped", "ALTER INDEX mv_renamed RENAME TO mv_other", "DROP MATERIALIZED VIEW mv_gone", "ALTER MATERIALIZED VIEW mv_moved RENAME TO mv_away", "CREATE INDEX mv_new ON mv (id)",
    "ALTER TABLE clustered CLUSTER ON clustered_v_idx; DROP STATISTICS st_dropped", "COMMENT ON TRIGGER t_commented ON acted IS 'new'", "DROP EVENT TRIGGER et_dropped",
)


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "killed"])
def test_what_comes_after_the_rows_is_altered_during_the_copy(world: World, is_killed: bool):
    """It is made as it was dumped before the first of these statements is run on the target; kills in that moment change nothing."""
    pair = world.pair(options=("--jobs", "1", "--accept", "all"))
    fill_rows(pair, "a_large_one", 30_000)
    fill_rows(pair, "letters", 26)
    pair.on_source("ALTER TABLE letters DROP id; ALTER TABLE letters ADD PRIMARY KEY (v)")
    pair.on_source("CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE FUNCTION act_renamed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
                   "CREATE FUNCTION act_gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    for name in ("parent", "parent_gone", "late_parent"):
        pair.on_source(f"CREATE TABLE {name} (id integer PRIMARY KEY, v text); INSERT INTO {name} SELECT n, 'v' FROM generate_series(1, 300) n")
    for name in ("fk_dropped", "fk_renamed", "fk_moved", "fk_altered", "fk_again", "fk_validated", "fk_new", "fk_gone"):
        pair.on_source(f"CREATE TABLE {name} (id integer PRIMARY KEY, p integer); INSERT INTO {name} SELECT n, n FROM generate_series(1, 300) n")
        if name not in ("fk_new", "fk_gone"):
            pair.on_source(f"ALTER TABLE {name} ADD CONSTRAINT {name}_fk FOREIGN KEY (p) REFERENCES parent {'NOT VALID' if name == 'fk_validated' else ''}")
    pair.on_source("ALTER TABLE fk_gone ADD FOREIGN KEY (p) REFERENCES parent_gone; CREATE TABLE checked (id integer PRIMARY KEY, n integer); INSERT INTO checked VALUES (1, -1), (2, 2);"
                   "ALTER TABLE checked ADD CONSTRAINT checked_1 CHECK (n > 0) NOT VALID; ALTER TABLE checked ADD CONSTRAINT checked_2 CHECK (n > -10) NOT VALID;"
                   "CREATE TABLE old_check (id integer PRIMARY KEY, n integer); INSERT INTO old_check VALUES (1, -1); ALTER TABLE old_check ADD CONSTRAINT old_check_1 CHECK (n > 0) NOT VALID;"
                   "CREATE TABLE old_parts (id integer PRIMARY KEY, n integer); CREATE TABLE old_part (PRIMARY KEY (id)) INHERITS (old_parts); INSERT INTO old_part VALUES (1, -1), (2, -2);"
                   "ALTER TABLE old_part ADD CONSTRAINT old_check_2 CHECK (n > 0) NOT VALID; ALTER TABLE old_parts ADD CONSTRAINT old_check_2 CHECK (n > 0) NOT VALID; ALTER TABLE old_part ADD CONSTRAINT \"old Check\" CHECK (n > 1) NOT VALID;"
                   "COMMENT ON CONSTRAINT \"old Check\" ON old_part IS 'it''s old';"
                   "CREATE TABLE acted (id integer PRIMARY KEY, n integer); CREATE TABLE ruled (id integer PRIMARY KEY); CREATE TABLE secured (id integer PRIMARY KEY); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;"
                   "CREATE TABLE clustered (id integer PRIMARY KEY, v text); CREATE INDEX ON clustered (v); CREATE STATISTICS st_dropped ON id, v FROM clustered;"
                   "CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id; CREATE MATERIALIZED VIEW mv_gone AS SELECT 1 AS id; CREATE MATERIALIZED VIEW mv_moved AS SELECT 1 AS id; CREATE EVENT TRIGGER et_dropped ON ddl_command_end EXECUTE FUNCTION et()")
    for name in ("dropped", "dropped_if", "renamed", "disabled", "always", "replaced", "again", "commented", "kept"):
        pair.on_source(f"CREATE TRIGGER t_{name} AFTER UPDATE OF n ON acted FOR EACH ROW EXECUTE FUNCTION act(); COMMENT ON TRIGGER t_{name} ON acted IS 'of {name}'")
    pair.on_source("CREATE TRIGGER t_function AFTER INSERT ON acted FOR EACH ROW EXECUTE FUNCTION act_renamed(); CREATE TRIGGER t_gone AFTER INSERT ON acted FOR EACH ROW EXECUTE FUNCTION act_gone()")
    for name in ("dropped", "renamed", "replaced", "disabled", "kept"):
        pair.on_source(f"CREATE RULE r_{name} AS ON UPDATE TO ruled WHERE old.id > 5 DO ALSO NOTHING")
    for name in ("dropped", "renamed", "altered", "kept"):
        pair.on_source(f"CREATE POLICY p_{name} ON secured USING (id > 0); COMMENT ON POLICY p_{name} ON secured IS 'of {name}'")
    for name, view in (("dropped", "mv"), ("renamed", "mv"), ("kept", "mv"), ("of_gone", "mv_gone"), ("of_moved", "mv_moved")):
        pair.on_source(f"CREATE UNIQUE INDEX mv_{name} ON {view} (id)")
    run = pair.pgtide.start("--max-rate", "1")
    wait_until(lambda: status(pair).get("bytes_copied", 0) > 0, 30, "rows are copied")
    with pair.source.connect(pair.database) as session:
        for statements in AFTER_ROWS:
            for statement in statements.split("; "):
                session.execute(statement)
        session.execute("ALTER TABLE old_check ADD c integer; ALTER TABLE old_check RENAME CONSTRAINT old_check_1 TO renamed_check")  # it is copied late, with a row that its CHECK would refuse
        session.execute("ALTER TABLE old_parts ADD c integer; ALTER TABLE old_part RENAME CONSTRAINT \"old Check\" TO \"of a part\"")
    assert status(pair)["phase"] == "data"
    if is_killed:
        run.kill()
        pair.pgtide.start("--max-rate", "off", faults="full.early_object=crash@9").wait(60)
        pair.pgtide.start("--max-rate", "off", faults="target.after_ddl=crash@7").wait(60)
        pair.pgtide.start("--max-rate", "off", faults="full.checks_aside=crash@1").wait(60)
        assert pair.target_value("SELECT count(*) FROM pgtide.aside") == 4 and pair.target_value("SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND NOT convalidated") == 0
        pair.pgtide.start("--max-rate", "off", faults="set_aside.before_commit=crash@2").wait(60)
        run = pair.pgtide.start("--max-rate", "off")
    else:
        assert pair.pgtide.call("speed", "off").status == OK
    wait_until(lambda: not run.is_running or pair.pgtide.phase() == "incremental", 90, "it follows")
    assert run.is_running, run.out + run.err
    assert pair.target_value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated") == 0
    log = "".join(path.read_text() for path in pair.pgtide.state_dir.glob("*/log"))
    assert is_killed or "stays NOT VALID until the copy is complete" in log
    pair.on_source("INSERT INTO acted VALUES (1, 1); INSERT INTO checked VALUES (2000, 3); UPDATE old_check SET n = 5 WHERE id = 1; UPDATE old_parts SET n = 5 WHERE id = 1")
    pair.on_source("ALTER TABLE old_parts RENAME CONSTRAINT old_check_2 TO of_all; ALTER TABLE old_check VALIDATE CONSTRAINT renamed_check")
    pair.finish()


def test_percentages_rise_and_the_time_left_is_about_right(world: World):
    """One large table whose stream is much smaller than its pages, one whose is larger, and small ones; nobody analyzed them."""
    pair = world.pair(options=("--jobs", "2"))
    pair.on_source("""
        CREATE TABLE narrow (a integer, b integer); INSERT INTO narrow SELECT n, n FROM generate_series(1, 700000) n;
        CREATE TABLE squeezed (id integer PRIMARY KEY, v text); INSERT INTO squeezed SELECT n, repeat('compress me ', 300) FROM generate_series(1, 4000) n;
        ALTER TABLE narrow REPLICA IDENTITY FULL""")
    for number in range(20):
        pair.on_source(f"CREATE TABLE small_{number} (id integer PRIMARY KEY, v text); INSERT INTO small_{number} SELECT n, repeat('v', 50) FROM generate_series(1, 2000) n")
    run = pair.pgtide.start("--json", "--max-rate", "2")
    pair.pgtide.wait_phase("incremental", 60)
    pair.finish()
    events = [event for event in run.events() if event["event"] in ("progress", "done")]
    for step in ("structure", "data", "index", "objects"):
        percents = [event["steps"][step]["percent"] for event in events]
        assert percents == sorted(percents) and percents[-1] == 100, (step, percents)
    in_all = [event["whole"]["percent"] for event in events]
    assert in_all == sorted(in_all) and in_all[-1] == 100, in_all
    copying = [event for event in events if event["phase"] == "data"]
    began, ended = (datetime.fromisoformat(copying[at]["time"].replace("Z", "+00:00")) for at in (0, -1))
    whole = (ended - began).total_seconds()
    assert whole > 8, whole
    told = 0
    assert 30 < copying[len(copying) // 2]["whole"]["percent"] < 70, [event["whole"] for event in copying]
    for event in copying:
        passed = (datetime.fromisoformat(event["time"].replace("Z", "+00:00")) - began).total_seconds()
        left = event["steps"]["data"]["seconds_left"]
        if passed < max(0.2 * whole, 4) or passed > 0.8 * whole:
            continue
        assert left is not None and (whole - passed) / 2 - 1 <= left <= (whole - passed) * 2 + 1, (passed, whole, left, [e["steps"]["data"] for e in copying])
        told += 1
    assert told >= 3
    assert events[-1]["rows_copied"] == 744000


ENCODED = {  # encoding of the database: client's encoding, a name, values (bytes that are no UTF-8 among them)
    "LATIN1": ("UTF8", "größe_ñ", ["'Ärger'", "repeat('ÿ', 5000)"]),
    "EUC_JP": ("UTF8", "表", ["'日本語'", "repeat('東京', 4000)"]),
    "SQL_ASCII": ("SQL_ASCII", "plain", ["E'\\\\xff\\\\xfe'", "repeat(E'\\\\x80\\\\x81a', 3000)", "E'\\\\xc3'"]),
}


def test_encodings_are_kept(world: World):
    """The target's database is made by pgtide. Copied in binary and in text (xml), followed, a key in such characters."""
    source, target = world.cluster("source"), world.cluster("target")
    for encoding, (client, name, values) in ENCODED.items():
        database = f"in_{encoding.lower()}"
        source.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        pgtide = world.pgtide(source.dsn(database), target.dsn(database), ("--accept", "all"))

        def run(*statements: str, database: str = database, client: str = client) -> None:
            with source.connect(database, client_encoding=client) as session:
                for statement in statements:
                    session.execute(statement.encode("utf-8"))

        def digest(cluster: Cluster, database: str = database, name: str = name, client: str = client) -> Any:
            with cluster.connect(database, client_encoding=client) as session:
                row = session.execute(f'SELECT string_agg(md5(k) || md5(v), \',\' ORDER BY md5(k)), count(*) FROM "{name}"'.encode("utf-8")).fetchone()
                texts = session.execute("SELECT string_agg(md5(v), ',' ORDER BY id) FROM as_text").fetchone()
                return row, texts

        run(f'CREATE TABLE "{name}" (k text PRIMARY KEY, v text)', "CREATE TABLE as_text (id integer PRIMARY KEY, v text, x xml)",
            *[f'INSERT INTO "{name}" VALUES ({value}, {value})' for value in values],
            *[f"INSERT INTO as_text VALUES ({at}, {value}, '<a/>')" for at, value in enumerate(values)])
        pgtide.follow()
        run(*[f'INSERT INTO "{name}" VALUES ({value} || \'x\', {value} || \'y\')' for value in values], f'UPDATE "{name}" SET k = k || k WHERE k = {values[0]}',
            f'DELETE FROM "{name}" WHERE k = {values[1]}', f"UPDATE as_text SET v = v || {values[1]}")
        pgtide.finish()
        assert target.value(f"SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = '{database}'") == encoding
        assert digest(source) == digest(target), encoding


@pytest.mark.parametrize("encoding, client, tables, text", [("LATIN1", "UTF8", ("täb", "ütz", "zÿ"), "é"), ("EUC_JP", "UTF8", ("表", "名前", "列"), "日本")])
def test_a_target_of_another_encoding(world: World, encoding: str, client: str, tables: tuple[str, ...], text: str):
    """Names that the two servers write in other bytes, and sort in another order: found again, followed, compared."""
    source, target = world.cluster("source"), world.cluster("target")
    source.execute(f"CREATE DATABASE app TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    target.execute("CREATE DATABASE app TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    pgtide = world.pgtide(source.dsn("app"), target.dsn("app"), ("--accept", "all", "--lanes", "2"))
    with source.connect("app", client_encoding=client) as session:
        def run(statement: str) -> None:
            session.execute(statement.encode("utf-8"))

        for table in tables:
            run(f'CREATE TABLE "{table}" (id int PRIMARY KEY, "{text}" text, "{table}" text DEFAULT \'{text}\'); INSERT INTO "{table}" SELECT n, \'{text}\' || n FROM generate_series(1, 100) n')
        pgtide.follow()
        for table in tables:
            run(f'UPDATE "{table}" SET "{text}" = "{text}" || \'{text}\' WHERE id % 3 = 0; ALTER TABLE "{table}" ADD "{text}2" text DEFAULT \'{text}\'; DELETE FROM "{table}" WHERE id = 7')
        run(f'CREATE TABLE "{text}" (a text PRIMARY KEY); INSERT INTO "{text}" VALUES (\'{text}\')')
    pgtide.caught_up()
    compared = pgtide.call("compare", "--json")
    assert compared.status == OK and len([e for e in json.loads(compared.out)["entries"] if e["kind"] == "values"]) == 4, compared
    pgtide.finish()
    with target.connect("app", client_encoding="UTF8") as session:
        assert session.execute(f'SELECT count(*), count(*) FILTER (WHERE "{text}" = \'{text}3{text}\') FROM "{tables[0]}"'.encode("utf-8")).fetchone() == (99, 1)


def test_a_function_that_needs_a_search_path_is_named_with_its_remedy(world: World):
    pair = world.pair(options=("--accept", "all"))
    pair.on_source("CREATE TABLE banned (a int PRIMARY KEY); CREATE FUNCTION fine(int) RETURNS bool LANGUAGE sql AS 'SELECT NOT EXISTS (SELECT FROM banned WHERE a = $1)';"
                   "CREATE TABLE t (a int PRIMARY KEY CHECK (fine(a))); INSERT INTO t VALUES (1)")
    run = pair.pgtide.start().expect(FAILED)
    assert 'relation "banned" does not exist' in run.err and "SET search_path" in run.err, run.err
    for cluster in (pair.source, pair.target):
        cluster.execute("ALTER FUNCTION fine(int) SET search_path = public", pair.database)
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.finish()


def test_a_foreign_key_of_another_name_is_looked_at_until_the_end(world: World):
    """Renamed on the target when it is made and not checked yet: one gets its name back, the other never does, and that is said."""
    pair = world.pair(options=("--accept", "all"))
    pair.on_source("CREATE TABLE parent (id integer PRIMARY KEY); INSERT INTO parent VALUES (1); CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION et()")
    for name in ("child", "other"):
        pair.on_source(f"CREATE TABLE {name} (id integer PRIMARY KEY, p integer CONSTRAINT \"Key\" REFERENCES parent); INSERT INTO {name} VALUES (1, 1)")
    pair.pgtide.start(faults="full.object=crash@1").wait()
    pair.target.execute("ALTER TABLE child RENAME CONSTRAINT \"Key\" TO mine; ALTER TABLE other RENAME CONSTRAINT \"Key\" TO \"Mine, too\"", "app")
    run = pair.pgtide.follow()
    assert 'foreign key "mine" of table public.child is NOT VALID on the target, and the source has none of that name' in run.err, run.err
    pair.target.execute("ALTER TABLE child RENAME CONSTRAINT mine TO \"Key\"", "app")
    pair.pgtide.finish()
    assert 'foreign key "Mine, too" of table public.other stays NOT VALID on the target: the source has none of that name' in run.err, run.err
    assert pair.target_value("SELECT string_agg(conname || ' ' || convalidated, ', ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f'") == "Key true, Mine, too false"
