"""A target user who is no superuser: CREATEDB, CREATEROLE, and what the database's owner may do.

    source (triggers, foreign keys) ── pgtide ✂ ──▶ target, role carrier

Its sessions may not be replicas, so a trigger on the target would act a second time on what the source's has done already: what acts on
rows is made at the end.
"""

from __future__ import annotations

import pytest

from harness.pgtide import FAILED, OK
from harness.world import Pair, World

SHOP = """
CREATE TABLE parent (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0);
CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE journal (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO journal (what) VALUES (TG_OP || coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION note();
CREATE VIEW both_of AS SELECT p.id, c.id AS child FROM parent p JOIN child c ON c.parent = p.id;
CREATE RULE no_update AS ON UPDATE TO both_of DO INSTEAD NOTHING;
INSERT INTO parent SELECT n FROM generate_series(1, 200) n; INSERT INTO child SELECT n, 1 + n % 200 FROM generate_series(1, 1000) n;
"""
CHANGES = ("BEGIN; INSERT INTO child VALUES (5001, 900); INSERT INTO parent VALUES (900); COMMIT", "DELETE FROM parent WHERE id % 10 = 3",
           "UPDATE child SET parent = 2 WHERE id % 7 = 0", "TRUNCATE parent, child; INSERT INTO parent SELECT n FROM generate_series(1, 50) n; INSERT INTO child SELECT n, n FROM generate_series(1, 50) n")
ACTING = "SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_constraint WHERE contype = 'f')"


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair()
    pair.on_source(SHOP)
    pair.target.execute("DROP DATABASE app")
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEDB CREATEROLE")
    pair.pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"), ("--accept", "all"))
    return pair


def test_what_acts_on_rows_is_made_at_the_end(pair: Pair):
    pair.pgtide.follow()
    assert pair.target_value(ACTING) == 0
    for n, change in enumerate(CHANGES):
        pair.on_source(change)
        if n == 1:
            pair.pgtide.run.kill()
            pair.pgtide.follow()
    pair.pgtide.caught_up()
    pair.assert_equal(objects=False, sequences=False)
    assert pair.target_value(ACTING) == 0
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    assert pair.target_value(ACTING) == pair.source_value(ACTING) == 2
    pair.assert_nothing_left()


NEWS = [    # run on the source, and with what it is gone on with: nothing that acts on rows gets onto the target meanwhile
    ("CREATE TRIGGER noted_too AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION note()", ("--skip-change",)),
    ("CREATE TABLE grandchild (id integer PRIMARY KEY, child integer REFERENCES child ON DELETE CASCADE)",
     ("--replace-with", "CREATE TABLE grandchild (id integer PRIMARY KEY, child integer)")),
    ("ALTER TABLE journal ADD parent integer REFERENCES parent ON DELETE SET NULL", ("--replace-with", "ALTER TABLE journal ADD parent integer")),
    ("CREATE TABLE plain (id integer PRIMARY KEY, parent integer); INSERT INTO plain VALUES (1, 1001), (2, 2)", ()),
    ("ALTER TABLE plain ADD CONSTRAINT plain_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE", ("--skip-change",)),
    ("CREATE RULE twice AS ON INSERT TO plain DO ALSO INSERT INTO journal (what) VALUES ('rule')", ("--skip-change",)),
    ("CREATE RULE no_delete AS ON DELETE TO both_of DO INSTEAD NOTHING", ()),    # on a view: nothing is applied to it
]


def test_what_acts_on_rows_and_is_made_meanwhile_stops_it_and_can_be_left_out(pair: Pair):
    pair.pgtide.follow()
    pair.on_source("INSERT INTO parent VALUES (1001), (1002)")
    for statement, choice in NEWS:
        pair.on_source(statement)
        if not choice:
            pair.pgtide.caught_up()
            continue
        run = pair.pgtide.run.expect(FAILED)
        assert "would act on what is applied" in run.err and "--skip-change" in run.err, run.err
        pair.pgtide.start_command("resume", *choice)
        pair.pgtide.wait_phase("incremental")
    assert pair.target_value(ACTING) == 0
    pair.on_source("INSERT INTO child VALUES (7001, 1001); INSERT INTO grandchild VALUES (1, 7001); UPDATE journal SET parent = 1001; INSERT INTO plain VALUES (3, 2)")
    pair.on_source("DELETE FROM parent WHERE id = 1001; INSERT INTO parent VALUES (1003)")    # cascades over everything
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    assert pair.target_value("SELECT count(*) FROM grandchild") == 0 and pair.target_value("SELECT count(*) FROM plain") == 2


SECURED = """
CREATE TABLE parent (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0); CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent); CREATE TABLE "later On" (id integer PRIMARY KEY);
ALTER TABLE parent ENABLE ROW LEVEL SECURITY; ALTER TABLE parent FORCE ROW LEVEL SECURITY; CREATE POLICY p ON parent USING (n > 5); ALTER TABLE "later On" ENABLE ROW LEVEL SECURITY;
INSERT INTO parent SELECT n FROM generate_series(1, 200) n; INSERT INTO child SELECT n, 1 + n % 200 FROM generate_series(1, 1000) n;
"""
SECURITY = "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'a_large_one' ORDER BY 1"


@pytest.mark.parametrize("may_be_replica", [False, True], ids=["", "replica"])
def test_forced_row_security_is_forced_at_the_end(world: World, may_be_replica: bool):
    """The target's user owns the tables; their policies would refuse its rows, and hide those that a foreign key needs. Also a table that is altered during the copy."""
    pair = world.pair()
    pair.on_source(SECURED + "CREATE TABLE a_large_one AS SELECT n AS id, repeat('x', 1000) AS v FROM generate_series(1, 3000) n; ALTER TABLE a_large_one ADD PRIMARY KEY (id)")
    pair.target.execute("DROP DATABASE app")
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEDB CREATEROLE" + ("; GRANT SET ON PARAMETER session_replication_role TO carrier" if may_be_replica else ""))
    pair.pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"), ("--accept", "roles-missing", "--jobs", "1"))
    pair.pgtide.start(faults="copy.before_commit=crash@2").wait()
    pair.on_source("ALTER TABLE parent ADD x integer")  # put off, and copied when the policies are there
    pair.pgtide.follow()
    assert '"public.parent" was altered' in pair.pgtide.run.err and pair.target.query(SECURITY, "app") == [("child", False, False), ("later On", True, False), ("parent", True, False)]
    pair.on_source("UPDATE parent SET n = 9 WHERE id < 5; INSERT INTO parent VALUES (1001), (1002); DELETE FROM child WHERE id = 7; ALTER TABLE \"later On\" FORCE ROW LEVEL SECURITY; INSERT INTO \"later On\" VALUES (1)")
    pair.on_source("CREATE TABLE newer (id integer PRIMARY KEY); ALTER TABLE newer ENABLE ROW LEVEL SECURITY; ALTER TABLE newer FORCE ROW LEVEL SECURITY; INSERT INTO newer VALUES (1)")
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    pair.pgtide.start("--until", "caught-up", faults="full.forced=crash@1").wait()
    pair.on_source("UPDATE newer SET id = 2; UPDATE parent SET n = 7 WHERE id = 6")
    pair.pgtide.sync()
    assert pair.target.query(SECURITY, "app") == pair.source.query(SECURITY, "app") == [("child", False, False), ("later On", True, True), ("newer", True, True), ("parent", True, True)]
    assert pair.target_value("SELECT convalidated FROM pg_constraint WHERE contype = 'f'")
    pair.assert_equal(objects=False)
    pair.assert_nothing_left()


def test_forced_row_security_with_changes_only(world: World):
    pair = world.pair()
    pair.on_source(SECURED)
    pair.target.execute("CREATE ROLE carrier LOGIN; GRANT SET ON PARAMETER session_replication_role TO carrier; ALTER DATABASE app OWNER TO carrier")
    pair.target.execute("SET ROLE carrier; " + SECURED.replace("INSERT INTO", "RESET ROLE; INSERT INTO", 1), "app")
    pair.pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"), ("--accept", "all", "--type", "incremental"))
    pair.pgtide.follow()
    pair.on_source("UPDATE parent SET n = 9 WHERE id < 5; ALTER TABLE \"later On\" FORCE ROW LEVEL SECURITY; INSERT INTO \"later On\" VALUES (1)")
    pair.pgtide.finish()
    assert pair.target.query(SECURITY, "app") == pair.source.query(SECURITY, "app")
    pair.assert_equal(objects=False)


def test_large_objects_of_a_role_whose_rights_are_not_inherited(world: World):
    """A user that may become their owner reads and replaces them as that one; of what it cannot set then, one statement after the other is tried and told."""
    pair = world.pair()
    pair.target.execute("DROP DATABASE app")
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE keeper; CREATE ROLE reader")
    pair.target.execute("CREATE ROLE carrier LOGIN NOINHERIT CREATEDB IN ROLE keeper")
    pair.on_source("""SELECT lo_from_bytea(n, convert_to('content ' || n, 'UTF8')) FROM generate_series(50001, 50004) n; ALTER LARGE OBJECT 50001 OWNER TO keeper;
        ALTER LARGE OBJECT 50002 OWNER TO keeper; ALTER LARGE OBJECT 50003 OWNER TO keeper; COMMENT ON LARGE OBJECT 50001 IS 'one'; GRANT SELECT ON LARGE OBJECT 50004 TO reader""")
    pair.pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"), ("--accept", "all"))
    pair.pgtide.follow()
    pair.on_source("SELECT lo_put(50002, 0, 'CHANGED'); SELECT lo_unlink(50003); SELECT lo_create(50005)")
    pair.pgtide.finish()
    contents = "SELECT oid::int, lo_get(oid) FROM pg_largeobject_metadata ORDER BY oid"
    assert pair.target.query(contents, "app") == pair.source.query(contents, "app")
    owners = "SELECT oid::int, pg_get_userbyid(lomowner) = 'keeper', lomacl::text LIKE '%reader=r%' FROM pg_largeobject_metadata ORDER BY oid"
    assert pair.target.query(owners, "app") == pair.source.query(owners, "app")
    left_out = "".join(path.read_text() for path in pair.pgtide.state_dir.rglob("left-out.sql"))
    assert "COMMENT ON LARGE OBJECT 50001" in left_out and "GRANT SELECT ON LARGE OBJECT 50004" not in left_out, left_out
    pair.target.execute("DROP DATABASE app")
    pair.pgtide.start("--type", "full").expect(OK)
    assert pair.target.query(contents, "app") == pair.source.query(contents, "app")

    pair.target.execute("DROP DATABASE app")    # one that it may not become any more
    pair.pgtide.follow()
    pair.target.execute("REVOKE keeper FROM carrier")
    pair.on_source("SELECT lo_put(50001, 0, 'CHANGED'); SELECT lo_put(50004, 0, 'CHANGED')")
    pair.pgtide.finish()
    left_out = "".join(path.read_text() for path in pair.pgtide.state_dir.rglob("left-out.sql"))
    assert "contents, comment and rights of large object 50001" in left_out and 'role "keeper"' in left_out, left_out
    assert pair.target_value("SELECT lo_get(50004)") == pair.source_value("SELECT lo_get(50004)")
