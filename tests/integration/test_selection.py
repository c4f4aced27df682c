"""Table level: rules choose what is synchronized, and nothing else is touched.

    source (sales, parts, other, "odd.schema") ── pgtide --select ──▶ target

In the end what was not selected is dropped on the source: then both sides must be the same in everything.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from harness.pgtide import FAILED, FOLLOWING, OK, REFUSED, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

ODD = '"odd.schema"."Tab*le, ""x"""'

SHOP = f"""
CREATE EXTENSION citext;
CREATE SCHEMA sales; CREATE SCHEMA parts; CREATE SCHEMA other; CREATE SCHEMA "odd.schema";
CREATE TYPE other.mood AS ENUM ('sad', 'ok'); COMMENT ON TYPE other.mood IS 'comes along';
CREATE TYPE other.unused AS ENUM ('x');
CREATE FUNCTION other.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END $$;
CREATE FUNCTION other.unused_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE sales.numbers START 100;
CREATE TABLE sales.customers (id serial PRIMARY KEY, name citext NOT NULL);
CREATE TABLE sales.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer integer REFERENCES sales.customers, mood other.mood DEFAULT 'ok',
    no bigint DEFAULT nextval('sales.numbers'), note text, CHECK (no > 0));
CREATE INDEX orders_note ON sales.orders (note); CREATE STATISTICS sales.orders_stats ON customer, mood FROM sales.orders;
COMMENT ON COLUMN sales.orders.note IS 'a comment';
CREATE TRIGGER stamp BEFORE INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION other.stamp();
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON sales.orders USING (true);
GRANT SELECT ON sales.orders TO public;
CREATE TABLE sales.tmp_1 (id integer PRIMARY KEY, t text);
CREATE TABLE sales.log (id integer, day integer, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts.log_1 PARTITION OF sales.log FOR VALUES FROM (0) TO (10);
CREATE TABLE sales.log_2 PARTITION OF sales.log FOR VALUES FROM (10) TO (20);
CREATE VIEW sales.names AS SELECT c.name, count(o.id) FROM sales.customers c LEFT JOIN sales.orders o ON o.customer = c.id GROUP BY 1;
CREATE MATERIALIZED VIEW sales.totals AS SELECT * FROM sales.names;
CREATE TABLE {ODD} ("a key" integer PRIMARY KEY, "b,c" text);
CREATE TABLE other.secrets (id integer PRIMARY KEY, t text); CREATE SEQUENCE other.counter;
CREATE TABLE other.regions (id integer PRIMARY KEY); INSERT INTO other.regions VALUES (1), (2);
CREATE TABLE other.keyless (a integer);
INSERT INTO sales.customers (name) SELECT 'c' || n FROM generate_series(1, 20) n;
INSERT INTO sales.orders (customer) SELECT 1 + n % 20 FROM generate_series(1, 500) n;
INSERT INTO sales.tmp_1 SELECT n, 't' FROM generate_series(1, 100) n;
INSERT INTO sales.log SELECT n, n % 20 FROM generate_series(1, 200) n;
INSERT INTO {ODD} SELECT n, 'b' || n FROM generate_series(1, 50) n;
INSERT INTO other.secrets SELECT n, 's' FROM generate_series(1, 100) n;
REFRESH MATERIALIZED VIEW sales.totals;
"""

# Of what is not selected; the type, the function, the extension and the schema that are needed stay.
DROP_THE_REST = """
DROP TABLE sales.tmp_1, other.secrets, other.regions, other.keyless CASCADE; DROP SEQUENCE other.counter;
DROP TYPE other.unused; DROP FUNCTION other.unused_function;
"""

RULES = ("--select", "sales.*", "--select", "!sales.tmp_*," + ODD)


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    pair = world.pair()
    pair.on_source(SHOP)
    yield pair


def tables_on_target(pair: Pair) -> set[str]:
    return {name for (name,) in pair.target.query(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND nspname !~ '^(pg_|pgtide|information)'", pair.database)}


def report(pair: Pair, *options: str) -> dict[str, dict[str, Any]]:
    done = pair.pgtide.call("check", *options, "--json")
    return {item["id"]: item for item in json.loads(done.out)["items"]}


def write(pair: Pair, number: int) -> None:
    """One transaction in chosen and other tables."""
    pair.on_source(f"""
        BEGIN;
        INSERT INTO sales.orders (customer, note) SELECT 1 + n % 20, 'n{number}' FROM generate_series(1, 20) n;
        INSERT INTO other.secrets SELECT {number} * 1000 + n, 'x' FROM generate_series(1, 20) n;
        UPDATE sales.customers SET name = name || {number} WHERE id % 7 = {number} % 7;
        INSERT INTO sales.tmp_1 VALUES ({number} + 1000, 'new'); UPDATE other.secrets SET t = 'y' WHERE id % 5 = 0;
        DELETE FROM {ODD} WHERE "a key" = {number}; INSERT INTO {ODD} VALUES (1000 + {number}, NULL);
        INSERT INTO sales.log SELECT {number} * 1000 + n, n FROM generate_series(0, 19) n; INSERT INTO other.keyless VALUES (1);
        COMMIT""")


def finish(pair: Pair) -> None:
    pair.pgtide.finish()
    pair.on_source(DROP_THE_REST)
    pair.assert_equal()
    pair.assert_nothing_left()


def test_what_is_selected_is_copied_and_followed_and_nothing_else(pair: Pair):
    stop, failures = threading.Event(), []

    def load() -> None:
        number = 1
        while not stop.is_set():
            try:
                write(pair, number)
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)
                return
            number += 1
            let_pass(0.02)
    writer = threading.Thread(target=load, daemon=True)
    writer.start()
    pair.pgtide.start(*RULES, "--populate-matviews", faults="full.after_structure=wait@1:1000")
    pair.pgtide.wait_phase(FOLLOWING, 60)
    pair.pgtide.run.kill()
    # Another selection is refused, the same and none go on
    assert pair.pgtide.start("--select", "sales.*").expect(FAILED) and "another selection" in pair.pgtide.run.err
    pair.pgtide.follow(*RULES)
    compared = pair.pgtide.call("compare", "--json")
    assert compared.status == OK and json.loads(compared.out)["aligned"], compared
    pair.pgtide.run.kill()
    assert pair.pgtide.status()["selection"]["n_rules"] == 3
    pair.pgtide.follow()
    stop.set()
    writer.join()
    assert not failures
    pair.on_source("TRUNCATE sales.tmp_1, sales.log, other.secrets")
    pair.on_source("INSERT INTO sales.log VALUES (1, 1), (2, 12); INSERT INTO other.secrets VALUES (1, 'again')")
    pair.pgtide.caught_up()
    status = pair.pgtide.status()
    assert status["selection"]["rules"] == ["sales.*", "!sales.tmp_*", ODD] and status["selection"]["objects"] == 11, status["selection"]
    assert "other.secrets" not in tables_on_target(pair) and "sales.tmp_1" not in tables_on_target(pair)
    finish(pair)


def test_a_cutover_is_about_the_selection(pair: Pair):
    """Others go on writing to what is not selected: that is behind the marker, and nobody's concern."""
    pair.on_source("SELECT lo_from_bytea(0, 'x'); CREATE MATERIALIZED VIEW other.counted AS SELECT count(*) AS n FROM other.keyless")
    pair.pgtide.follow(*RULES)
    write(pair, 1)
    stop, failures = threading.Event(), []

    def others() -> None:
        while not stop.is_set():
            try:
                pair.on_source("INSERT INTO other.keyless VALUES (2)")
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)
            let_pass(0.01)
    writer = threading.Thread(target=others, daemon=True)
    writer.start()
    done = pair.pgtide.call("cutover", "--yes", "--refresh-matviews", "--json")
    stop.set()
    writer.join()
    assert done.status == OK and json.loads(done.out)["outcome"] == "completed" and not failures, done
    pair.pgtide.run.expect(OK)
    assert pair.target_value("SELECT count(*) FROM sales.totals") == pair.source_value("SELECT count(*) FROM sales.names")
    assert pair.target_value("SELECT count(*) FROM pg_largeobject_metadata") == 0
    pair.on_source(DROP_THE_REST + "REFRESH MATERIALIZED VIEW sales.totals; SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    pair.assert_equal()
    pair.assert_nothing_left()


def test_ddl_of_what_is_selected_is_carried_and_no_other(pair: Pair):
    pair.pgtide.follow(*RULES)
    for statement in [
        "ALTER TABLE other.secrets ADD u text", "CREATE INDEX ON other.secrets (t)", "CREATE TABLE sales.later (id integer PRIMARY KEY)",
        "CREATE TABLE other.made AS SELECT 1 AS a", "CREATE FUNCTION other.nobody() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "GRANT SELECT ON other.secrets TO public", "COMMENT ON TABLE other.secrets IS 'x'", "CREATE SCHEMA unheard_of",
        "CREATE TRIGGER t BEFORE INSERT ON other.secrets FOR EACH ROW EXECUTE FUNCTION other.stamp()", "DROP TRIGGER t ON other.secrets",
        "ALTER TABLE sales.tmp_1 ADD x integer; ALTER TABLE sales.customers ADD since date DEFAULT '2020-01-01', ADD n serial",
        "CREATE INDEX by_name ON sales.customers (name); CREATE INDEX gone ON sales.customers (since)", "DROP INDEX sales.gone, sales.orders_note",
        "ALTER TYPE other.mood ADD VALUE 'great'", "GRANT UPDATE ON sales.customers TO public",
        "CREATE OR REPLACE FUNCTION other.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER again BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION other.stamp(); DROP TRIGGER stamp ON sales.orders",
        "CREATE TABLE parts.log_3 PARTITION OF sales.log FOR VALUES FROM (20) TO (30)", "DROP POLICY all_of_it ON sales.orders",
        "INSERT INTO sales.log SELECT n, n FROM generate_series(0, 29) n WHERE n > 500; INSERT INTO sales.log VALUES (7, 27); INSERT INTO sales.later VALUES (1)",
        "ALTER TABLE sales.orders RENAME TO bookings; UPDATE sales.bookings SET mood = 'great' WHERE id < 5",
        "DROP TABLE sales.later; DROP TABLE other.made; DROP SCHEMA unheard_of; DROP FUNCTION other.nobody",
        "COMMENT ON COLUMN sales.customers.since IS 'new'; CREATE VIEW sales.unseen AS SELECT * FROM sales.customers; DROP VIEW sales.unseen",
        "CREATE TABLE other.p (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE other.p1 PARTITION OF other.p FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE other.p DETACH PARTITION other.p1 CONCURRENTLY", "DROP TABLE other.p, other.p1",
        "INSERT INTO sales.customers (name) VALUES ('later')",
    ]:
        pair.on_source(statement)
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.on_source("ALTER TABLE parts.log_3 ALTER day SET STATISTICS 77; DROP VIEW sales.names CASCADE")
    finish(pair)


LATER = ("--select", "sales.*,!sales.tmp_*,*.order_?,parts.log_*")


def test_tables_that_are_made_later_are_followed_if_a_rule_chooses_them(pair: Pair):
    """Made between the precheck and the snapshot, during the copy, while it follows, and while nothing runs. What is renamed into a rule is not followed, and out of one is."""
    pair.on_source("CREATE TABLE sales.order_0 (id integer PRIMARY KEY)")
    pair.pgtide.start(*LATER, faults="prepare.before_capture=wait@1:1500,prepare.after_capture=wait@1:1500,prepare.before_slot=wait@1:1500,prepare.spool_reset=crash@2")
    moments = ((lambda: "beginning task" in pair.pgtide.run.err, "early"), (lambda: pair.source_value("SELECT count(*) FROM pg_event_trigger") == 4, "captured"),
               (lambda: pair.source_value("SELECT count(*) FROM pg_publication") == 1, "published"), (lambda: bool(tables_on_target(pair)), "copying"))
    for reached, name in moments:
        if name == "copying":
            pair.pgtide.run.wait()
            assert "publication and slot are made anew" in pair.pgtide.run.err
            pair.pgtide.start(faults="full.after_structure=wait@1:1500")
        wait_until(reached, 30, name)
        pair.on_source(f"CREATE TABLE sales.{name} (id serial PRIMARY KEY, v text); INSERT INTO sales.{name} (v) SELECT 'before' FROM generate_series(1, 20); CREATE TABLE other.{name} (a integer)")
    pair.pgtide.wait_phase(FOLLOWING, 60)
    for statement in [
        *(f"UPDATE sales.{name} SET v = 'after' WHERE id % 3 = 0; INSERT INTO sales.{name} (v) VALUES ('x'); DELETE FROM sales.{name} WHERE id = 7" for _, name in moments),
        "BEGIN; CREATE TABLE sales.rows (id integer PRIMARY KEY, n integer REFERENCES sales.customers); INSERT INTO sales.rows VALUES (1, 1), (2, 2); UPDATE sales.rows SET n = 3 WHERE id = 1; COMMIT",
        "CREATE TABLE sales.bag (v text); INSERT INTO sales.bag VALUES ('a'), ('a'); UPDATE sales.bag SET v = 'b'", "CREATE TABLE sales.tmp_9 (a integer); INSERT INTO sales.tmp_9 VALUES (1)",
        "CREATE SCHEMA \"new One\"; CREATE TABLE \"new One\".order_7 (id integer PRIMARY KEY); CREATE TABLE \"new One\".orders_ (id integer)", "INSERT INTO \"new One\".order_7 VALUES (1)",
        "CREATE SCHEMA another CREATE TABLE order_1 (id integer PRIMARY KEY)", "INSERT INTO another.order_1 VALUES (1)", "CREATE SEQUENCE sales.numbers_2 START 7; CREATE TABLE sales.counted (id bigint PRIMARY KEY DEFAULT nextval('sales.numbers_2'))",
        "INSERT INTO sales.counted DEFAULT VALUES", "CREATE TABLE sales.parted (id integer PRIMARY KEY, t text) PARTITION BY RANGE (id); CREATE TABLE other.parted_1 PARTITION OF sales.parted FOR VALUES FROM (0) TO (10)", "INSERT INTO sales.parted VALUES (1, 'x')",
        "CREATE TABLE sales.of_query AS SELECT * FROM sales.customers; UPDATE sales.of_query SET name = 'y' WHERE id = 1; SELECT 1 AS a INTO sales.of_select", "INSERT INTO sales.of_query VALUES (1, 'x')", "CREATE TABLE other.p (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE sales.part_of_others PARTITION OF other.p DEFAULT; INSERT INTO other.p VALUES (1)",
        "CREATE TEMP TABLE order_5 (a integer); CREATE VIEW sales.reads_others AS SELECT * FROM other.secrets", "DROP TABLE sales.tmp_9; DROP TABLE other.early", "ALTER TABLE sales.rows ADD w text DEFAULT 'w'; CREATE INDEX ON sales.rows (w); COMMENT ON TABLE sales.rows IS 'x'",
        "ALTER TABLE other.keyless RENAME TO order_8; ALTER TABLE sales.bag SET SCHEMA other; UPDATE other.bag SET v = 'c'", "DROP TABLE sales.published; CREATE TABLE sales.published (id integer PRIMARY KEY)", "INSERT INTO sales.published VALUES (5)",
    ]:
        pair.on_source(statement)
    pair.pgtide.caught_up()
    compared = json.loads(pair.pgtide.call("compare", "--json").out)
    assert all(entry["result"] == "equal" for entry in compared["entries"]), [entry for entry in compared["entries"] if entry["result"] != "equal"]
    assert {"sales.early", "sales.copying", "new One.order_7", "other.bag", "sales.rows"} - {entry["name"] for entry in compared["entries"]} == set()
    pair.pgtide.run.kill()
    pair.on_source("CREATE TABLE sales.unseen (id integer PRIMARY KEY); INSERT INTO sales.unseen VALUES (1); INSERT INTO sales.captured (v) VALUES ('y')")
    pair.pgtide.follow()
    pair.on_source("UPDATE sales.unseen SET id = 2; UPDATE sales.rows SET w = 'v'")
    pair.pgtide.finish()
    compared = pair.pgtide.call("compare", "--json")
    assert compared.status == OK and {"sales.rows", "sales.unseen", "other.bag"} <= {entry["name"] for entry in json.loads(compared.out)["entries"]}, compared
    pair.on_source("DROP VIEW sales.reads_others; DROP TABLE other.order_8, other.p, other.captured, other.published, other.copying, \"new One\".orders_")
    pair.on_source("CREATE TABLE other.keyless (a integer); DROP SCHEMA \"odd.schema\" CASCADE")
    pair.on_source(DROP_THE_REST)
    pair.assert_equal()
    pair.assert_nothing_left()


def test_what_is_needed_is_named_and_added_when_asked_for(pair: Pair):
    pair.on_source("""
        CREATE VIEW sales.leak AS SELECT s.id FROM other.secrets s;
        CREATE TABLE other.base (a integer PRIMARY KEY); CREATE TABLE sales.child (b integer) INHERITS (other.base);
        CREATE TABLE sales.spots (id integer PRIMARY KEY DEFAULT nextval('other.counter'), region integer REFERENCES other.regions);
        INSERT INTO sales.spots (region) VALUES (1), (2); INSERT INTO other.regions VALUES (3);
        ALTER TABLE other.regions ADD up integer REFERENCES other.regions, ADD secret integer REFERENCES other.secrets;
        INSERT INTO sales.child VALUES (1, 2);""")
    accept = ("--accept", "replica-identity")
    refused = pair.pgtide.start(*RULES, *accept).expect(REFUSED)
    assert tables_on_target(pair) == set() and pair.source_value("SELECT count(*) FROM pg_replication_slots") == 0
    item = report(pair, *RULES)["dependencies"]
    assert item["result"] == "FAILED" and "dependencies" in refused.err
    assert sorted(item["objects"]) == [
        "sales.child needs other.base: it inherits from that, or has it as a column's type",
        "sales.leak needs other.secrets: its query",
        "sales.spots needs other.counter: default of column id",
        "sales.spots needs other.regions: foreign key spots_region_fkey",
    ]
    assert "--with-dependencies" in item["fix"]
    pair.pgtide.follow(*RULES, "--with-dependencies", *accept)
    pair.on_source("INSERT INTO other.secrets VALUES (-1, 'new'); INSERT INTO other.regions VALUES (4, 1, -1); INSERT INTO sales.spots (region) VALUES (4)")
    pair.pgtide.caught_up()
    pair.pgtide.finish()
    pair.on_source("DROP TABLE sales.tmp_1, other.keyless; DROP TYPE other.unused; DROP FUNCTION other.unused_function")
    pair.assert_equal()
    pair.assert_nothing_left()


def test_a_foreign_key_to_the_outside_can_be_left_out(pair: Pair):
    pair.on_source("ALTER TABLE sales.orders ADD region integer DEFAULT 1 REFERENCES other.regions")
    rules = ("--select", "sales.orders,sales.customers,sales.numbers")
    item = report(pair, *rules)["dependencies"]
    assert item["result"] == "ALARM" and item["objects"] == ["sales.orders needs other.regions: foreign key orders_region_fkey"]
    pair.pgtide.start(*rules).expect(REFUSED)
    pair.pgtide.sync(*rules, "--accept", "dependencies")
    assert tables_on_target(pair) == {"sales.orders", "sales.customers", "sales.numbers", "sales.orders_id_seq", "sales.customers_id_seq"}
    assert pair.pgtide.call("compare").status == OK
    pair.on_source(DROP_THE_REST + "DROP SCHEMA parts, \"odd.schema\" CASCADE; DROP TABLE sales.log; DROP VIEW sales.names CASCADE")
    pair.assert_equal()
    # A second selection shares the type, the function and the schemas that the first one brought
    pair.on_source("CREATE TABLE sales.more (id integer PRIMARY KEY, mood other.mood); INSERT INTO sales.more VALUES (1, 'sad')")
    pair.pgtide.sync("--select", "sales.more")
    assert pair.target_value("SELECT mood::text FROM sales.more") == "sad"
    # What is there already is refused by name
    assert report(pair, "--select", "sales.more")["target-empty"]["objects"] == ["sales.more"]


def test_rules_that_say_nothing_and_files(pair: Pair, tmp_path: Path):
    item = report(pair, "--select", "sales.ordres,slaes.*,!nothing.*,sales.orders")["selected-objects"]
    assert item["result"] == "FAILED" and len(item["objects"]) == 3
    assert "did you mean sales.orders?" in item["objects"][0] and "did you mean sales.*?" in item["objects"][1]
    assert report(pair, "--select", "sales.*,!nothing.*")["selected-objects"]["result"] == "ALARM"
    assert pair.pgtide.call("check", "--select", "a.b.c").status == USAGE
    assert pair.pgtide.call("check", "--with-dependencies").status == USAGE
    assert pair.pgtide.call("check", "--select-from", str(tmp_path / "missing")).status == USAGE
    listed = tmp_path / "list.csv"
    listed.write_text('schema,table\nsales,customers\nodd.schema,"Tab*le, ""x"""\nsales\n')
    wrong = pair.pgtide.call("check", "--select-from", str(listed))
    assert wrong.status == USAGE and "line 4" in wrong.err
    listed.write_text('schema,table\nsales,customers\nodd.schema,"Tab*le, ""x"""\nsales,customres\n')
    item = report(pair, "--select-from", str(listed))["selected-objects"]
    assert item["result"] == "FAILED" and "line 4" in item["objects"][0] and "did you mean sales.customers?" in item["objects"][0]
    listed.write_text('schema,table\nsales,customers\nodd.schema,"Tab*le, ""x"""\n')
    pair.pgtide.sync("--select-from", str(listed))
    assert tables_on_target(pair) == {"sales.customers", "sales.customers_id_seq", 'odd.schema.Tab*le, "x"'}
    # Rules of its own for a comparison: what only one side has differs
    assert pair.pgtide.call("compare", "--select", "sales.customers").status == OK
    assert pair.pgtide.call("compare", "--select", "sales.orders").status == 4
    assert "matches nothing on either side" in pair.pgtide.call("compare", "--select", "nothing.*").err


def test_a_user_with_rights_on_the_selected_tables_alone(pair: Pair):
    """No publication can be made: the stream holds everything, and the feeder leaves out what is not selected."""
    pair.source.execute("CREATE ROLE reader LOGIN REPLICATION", "postgres")
    pair.on_source("GRANT USAGE ON SCHEMA sales, other, parts TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA sales, parts TO reader;"
                   "GRANT SELECT ON ALL SEQUENCES IN SCHEMA sales TO reader; REVOKE SELECT ON sales.tmp_1 FROM reader;"
                   "ALTER ROLE reader BYPASSRLS")
    pair.pgtide.source = pair.source.dsn(pair.database, user="reader")
    pair.pgtide.follow("--select", "sales.*,!sales.tmp_*", "--accept", "all")
    assert pair.source_value("SELECT plugin FROM pg_replication_slots") == "test_decoding"
    for number in range(1, 6):
        write(pair, number)
    pair.on_source("TRUNCATE sales.tmp_1, sales.log, other.secrets; INSERT INTO sales.log VALUES (7, 7)")
    pair.pgtide.caught_up()
    assert pair.pgtide.status()["changes_left_out"] > 100
    pair.on_source("CREATE TABLE sales.newer (id integer PRIMARY KEY); CREATE TABLE sales.tmp_new (id integer); CREATE TABLE other.newer (id integer)")
    run = pair.pgtide.run.expect(FAILED)
    assert 'table "sales.newer" was created; a rule chooses it, but where DDL is not carried it is not followed' in run.err and "tmp_new" not in run.err and "other.newer" not in run.err
    pair.target.execute("CREATE TABLE sales.newer (id integer PRIMARY KEY)", pair.database)
    assert "a rule chooses it" in pair.pgtide.start("--accept", "all").expect(FAILED).err, "its rows would not come"
    pair.target.execute("DROP TABLE sales.newer", pair.database)
    pair.pgtide.follow("--accept", "all,structure-drift")
    pair.pgtide.finish()
    pair.on_source("DROP TABLE sales.newer, sales.tmp_new, other.newer")
    pair.on_source(DROP_THE_REST + 'DROP SCHEMA "odd.schema" CASCADE')
    pair.assert_equal(objects=False)
    pair.assert_nothing_left()


def test_rows_of_configuration_tables_come_with_their_extension(world: World):
    """What pg_extension_config_dump names; where the target's own rows are, they stay. Extensions that nothing selected needs are not asked."""
    pair = world.pair()
    kinds = {"citext": "k citext", "hstore": "h hstore", "isn": "i isbn"}
    for cluster in (pair.source, pair.target):
        for extension in kinds:
            cluster.execute(f"""CREATE EXTENSION {extension}; CREATE TABLE conf_{extension} (k text, v text); ALTER EXTENSION {extension} ADD TABLE conf_{extension};
                UPDATE pg_extension SET extconfig = ARRAY['conf_{extension}'::regclass::oid], extcondition = ARRAY['WHERE k <> ''standard'''] WHERE extname = '{extension}';
                INSERT INTO conf_{extension} VALUES ('standard', 'of the extension')""", pair.database)
    for extension, column in kinds.items():
        pair.on_source(f"INSERT INTO conf_{extension} VALUES ('own', 'of the source'); CREATE TABLE uses_{extension} (id integer PRIMARY KEY, {column})")
    pair.target.execute("INSERT INTO conf_hstore VALUES ('own', 'of the target')", pair.database)
    pair.pgtide.sync("--select", "public.uses_citext,public.uses_hstore")
    rows = {extension: pair.target.query(f"SELECT k, v FROM conf_{extension} ORDER BY k", pair.database) for extension in kinds}
    standard = ("standard", "of the extension")
    assert rows == {"citext": [("own", "of the source"), standard], "hstore": [("own", "of the target"), standard], "isn": [standard]}
