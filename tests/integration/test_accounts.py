"""`--accounts`: the source's roles on the target, the reason for each that stays behind, and nothing raised.

    source (roles of all kinds) ── pgtide ──▶ target (some of the names are taken)
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.pgtide import OK, REFUSED
from harness.world import Pair, World

ROLES = """
CREATE ROLE staff NOLOGIN;
CREATE ROLE "Ödd ""role" LOGIN PASSWORD 'secret one' CONNECTION LIMIT 7 VALID UNTIL '2030-01-01 00:00:00+00';
CREATE ROLE writer LOGIN PASSWORD 'secret two' NOINHERIT CREATEDB CREATEROLE;
CREATE ROLE ghost LOGIN;
CREATE ROLE replicator LOGIN REPLICATION BYPASSRLS PASSWORD 'secret three';
CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'secret four';
CREATE ROLE rds_guard NOLOGIN; CREATE ROLE guard NOLOGIN; CREATE ROLE azure_app NOLOGIN; CREATE ROLE azure_pg_admin NOLOGIN;
CREATE ROLE taken LOGIN PASSWORD 'of the source' CONNECTION LIMIT 3;
GRANT staff TO "Ödd ""role" WITH ADMIN OPTION; GRANT staff TO writer; GRANT taken TO writer; GRANT staff TO taken; GRANT pg_monitor TO ghost; GRANT boss TO writer; GRANT postgres TO staff; GRANT guard TO writer;
ALTER ROLE writer SET search_path = "Sales", public; ALTER ROLE writer SET work_mem = '7MB'; ALTER ROLE "Ödd ""role" SET search_path = ''; ALTER ROLE writer IN DATABASE app SET statement_timeout = '5s';
COMMENT ON ROLE staff IS 'who''s here';
GRANT SET ON PARAMETER log_statement TO writer WITH GRANT OPTION; GRANT ALTER SYSTEM ON PARAMETER log_statement TO writer; GRANT SET ON PARAMETER log_duration TO taken;
"""
OBJECTS = """
CREATE SCHEMA sales AUTHORIZATION writer; CREATE TABLE sales.t (id integer PRIMARY KEY); ALTER TABLE sales.t OWNER TO writer; GRANT SELECT ON sales.t TO staff, "Ödd ""role";
ALTER DEFAULT PRIVILEGES FOR ROLE writer IN SCHEMA sales GRANT SELECT ON TABLES TO staff; INSERT INTO sales.t VALUES (1);
"""
FACTS = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, rolpassword,
       shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY rolname COLLATE "C"
"""
MEMBERS = "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members WHERE member > 16000 ORDER BY 1, 2"
PARAMETERS = "SELECT parname, paracl::text FROM pg_parameter_acl WHERE parname <> 'log_duration' ORDER BY 1"
SETTINGS = "SELECT setrole::regrole::text, setdatabase <> 0, setconfig FROM pg_db_role_setting WHERE setrole <> 0 ORDER BY 1, 2"
CARRIED = {"azure_app", "staff", 'Ödd "role', "writer", "ghost", "replicator"}


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair()
    pair.source.execute(ROLES)
    pair.on_source(OBJECTS)
    pair.target.execute("CREATE ROLE taken LOGIN PASSWORD 'of the target'; CREATE ROLE mighty BYPASSRLS; CREATE ROLE guard; GRANT mighty TO guard")
    return pair


def item(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in document["items"] if item["id"] == name)
    return found


def facts(rows: list[tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in rows}


def roles_dumped(cluster: Cluster) -> set[str]:
    """What pg_dumpall -r says, without who granted what."""
    dump = subprocess.run([cluster.installation.program("pg_dumpall"), "--roles-only", "-d", cluster.dsn("postgres")], capture_output=True, check=True, text=True)
    lines = {re.sub(" GRANTED BY .*;", ";", line) for line in dump.stdout.splitlines()}
    return {line for line in lines if line.split(" ")[0] in ("CREATE", "ALTER", "GRANT", "COMMENT") and not line.startswith("ALTER ROLE postgres ")}


def test_roles_come_along_and_each_that_does_not_has_its_remark(pair: Pair):
    before = facts(pair.target.query(FACTS))
    document = json.loads(pair.pgtide.call("check", "--accounts", "--accept", "all", "--json").out)
    lines = item(document, "accounts")["objects"]
    assert {line.split(" can be")[0].strip('"').replace('""', '"') for line in lines if " can be synchronized" in line} == CARRIED
    remarks = {line.split()[0].strip('"'): line for line in lines if " cannot be " in line}
    assert "superuser" in remarks["boss"] and "Amazon" in remarks["rds_guard"] and "exists" in remarks["taken"] and "exists" in remarks["postgres"] and "system" in remarks["pg_monitor"]
    assert any(re.search("replicator.*without REPLICATION, comes without BYPASSRLS", line) for line in lines)
    lists = item(document, "accounts")["accounts"]
    found = {x["name"]: x["remark"] for x in lists["can_be_synchronized"]}  # what pg_dumpall -r shows on one side only, each in a remark
    assert 'no member of "boss": it does not exist' in found["writer"] and 'no member of "guard"' in found["writer"] and 'no member of "postgres"' in found["staff"] and "staff" not in found["writer"]
    assert "Azure" in remarks["azure_pg_admin"] and not found["azure_app"] and not found["ghost"]
    assert {x["name"] for x in lists["can_be_synchronized"]} == CARRIED
    assert {x["name"] for x in lists["cannot_be_synchronized"]} >= {"boss", "rds_guard", "taken", "postgres", "guard", "pg_monitor"} and all(x["remark"] for x in lists["cannot_be_synchronized"])
    missing = item(document, "roles-missing")
    assert missing["result"] == "PASSED", missing
    assert facts(pair.target.query(FACTS)) == before, "a check changes nothing"

    run = pair.pgtide.start("--accounts", "--until", "caught-up").expect(OK)
    assert "SCRAM-SHA-256" not in run.err + run.out + "".join(log.read_text() for log in pair.pgtide.state_dir.glob("**/log"))
    source, target = facts(pair.source.query(FACTS)), facts(pair.target.query(FACTS))
    assert set(target) == CARRIED | {"taken", "postgres", "guard", "mighty"}
    for name in CARRIED - {"replicator"}:
        assert target[name] == source[name], name
    assert target["replicator"] == (*source["replicator"][:5], False, False, *source["replicator"][7:])
    assert target["taken"] == before["taken"] and target["postgres"] == before["postgres"]
    lifted = {"boss", "postgres", "guard"}  # not there, or its members can be superusers or pass row security
    memberships = [row for row in pair.target.query(MEMBERS) if row[1] != "guard"]
    assert memberships == [row for row in pair.source.query(MEMBERS) if row[0] not in lifted and row[1] != "taken"]
    assert re.search('left out "GRANT postgres TO staff.*whole server', run.err) and re.search('left out "GRANT guard TO writer.*whole server', run.err)
    assert pair.target.query(SETTINGS) == pair.source.query(SETTINGS)
    assert pair.target.query(PARAMETERS) == pair.source.query(PARAMETERS) != []
    for line in roles_dumped(pair.source) - roles_dumped(pair.target):
        about = [name for name, remark in {**found, **remarks}.items() if remark and name in line]
        assert about, (line, "is said in no remark")
    pair.assert_equal()
    compared = json.loads(pair.pgtide.call("compare", "--kind", "accounts", "--json").out)
    different = {d["identity"] for entry in compared["entries"] for d in entry["differences"]}
    assert not any(("writer" in identity or "staff" in identity) and not re.search("boss|taken|postgres|guard", identity) for identity in different), different


def test_without_the_right_to_read_passwords_roles_come_without_login(world: World, pair: Pair):
    pair.on_source("CREATE ROLE mover LOGIN REPLICATION PASSWORD 'x'; GRANT USAGE ON SCHEMA sales TO mover; GRANT SELECT ON sales.t TO mover")
    pgtide = world.pgtide(pair.source.dsn("app").replace("postgres@", "mover:x@", 1), pair.target.dsn("app"))
    done = pgtide.call("check", "--accounts", "--json")
    assert done.status == REFUSED
    alarm = item(json.loads(done.out), "accounts")
    assert alarm["result"] == "ALARM" and "pg_authid" in alarm["fix"] and any('"writer" can be' in line and "without LOGIN" in line for line in alarm["objects"])
    pgtide.start("--accounts", "--accept", "all", "--until", "caught-up").expect(OK)
    found = facts(pair.target.query(FACTS))
    assert not found["writer"][4] and found["writer"][9] is None and not found["staff"][4]
    assert pair.target.value("SELECT tableowner FROM pg_tables WHERE tablename = 't'", "app") == "writer"


def test_a_user_who_may_not_create_roles_is_told_so_before_anything_begins(world: World, pair: Pair):
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEDB")
    pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="carrier"))
    done = pgtide.call("check", "--accounts", "--accept", "all", "--json")
    found = item(json.loads(done.out), "accounts")
    assert done.status == REFUSED and found["result"] == "FAILED" and 'ALTER ROLE "carrier" CREATEROLE' in found["fix"], found


def test_a_user_who_may_only_create_roles_makes_them_and_owns_nothing_more(world: World, pair: Pair):
    """
    Killed after they were made and before they were committed, it makes them again: all or nothing. What it may not set is said before, and nothing
    else is missing.
    """
    pair.source.execute("ALTER ROLE writer SET our.thing = 'x'; ALTER ROLE staff SET log_statement = 'all'; ALTER ROLE staff IN DATABASE app SET log_duration = on; ALTER ROLE ghost SET work_mem = '6MB'")
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEROLE CREATEDB PASSWORD 'x'; GRANT SET ON PARAMETER session_replication_role TO carrier")
    pair.target.execute("DROP DATABASE app")
    pgtide = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app").replace("postgres@", "carrier:x@", 1))
    document = json.loads(pgtide.call("check", "--accounts", "--accept", "all", "--json").out)
    remarks = {x["name"]: x["remark"] or "" for kind in item(document, "accounts")["accounts"].values() for x in kind}
    assert 'without the setting "log_statement": only a superuser' in remarks["staff"] and 'without the setting "our.thing": the target does not know it' in remarks["writer"] and "setting" not in remarks["ghost"]
    assert 'user "carrier" becomes a member of each' in item(document, "accounts")["reason"]
    (announced,) = item(document, "left-out")["objects"]
    assert "ALTER ROLE staff IN DATABASE app SET \"log_duration\"" in announced or "ALTER ROLE staff IN DATABASE app SET log_duration" in announced
    pgtide.start("--accounts", "--accept", "all", "--until", "caught-up", faults="accounts.made=crash@1").wait()
    assert not CARRIED & set(facts(pair.target.query(FACTS)))
    pgtide.start("--accounts", "--accept", "all", "--until", "caught-up").expect(OK)
    assert CARRIED <= set(facts(pair.target.query(FACTS)))
    assert pair.target.value("SELECT tableowner FROM pg_tables WHERE tablename = 't'", "app") == "writer"
    missing, more = roles_dumped(pair.source) - roles_dumped(pair.target), roles_dumped(pair.target) - roles_dumped(pair.source)
    for line in missing:
        assert [name for name, remark in remarks.items() if remark and name in line], (line, "is said in no remark")
    assert 'without the right to set "log_statement": only a superuser' in remarks["writer"]
    assert {line for line in missing if line.startswith("ALTER") and "SET" in line and "IN DATABASE" not in line} == {"ALTER ROLE writer SET \"our.thing\" TO 'x';", "ALTER ROLE staff SET log_statement TO 'all';"}
    assert not [line for line in more if not re.search("carrier|taken|replicator|mighty|guard", line)], more
    (file,) = pgtide.state_dir.glob("*/left-out.sql")
    assert [words for words in ("our.thing", "log_statement", "log_duration", "GRANT boss TO writer") if words not in file.read_text()] == []
    pair.assert_equal(objects=False)
