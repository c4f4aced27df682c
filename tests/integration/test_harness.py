"""The harness itself, on plain PostgreSQL: a verdict that never says "different" is worth nothing.

    source ── pg_dump | psql ──▶ target          client ── proxy ──▶ source
"""

from __future__ import annotations

import socket
import time

import psycopg
import pytest

from harness.compare import assert_equal, compare
from harness.leftovers import leftovers
from harness.load import SQL, Mixed
from harness.proxy import Proxy
from harness.wait import DeadlineExceeded, wait_until
from harness.world import World

ALTERATIONS = {
    "a changed value": ("UPDATE shop.product SET price = price + 0.01 WHERE id = 11", "shop.product"),
    "a missing row": ("DELETE FROM shop.click WHERE ctid = '(0,1)'", "shop.click"),
    "a doubled row": ("INSERT INTO shop.click SELECT * FROM shop.click LIMIT 1", "shop.click"),
    "null instead of an empty text": ("UPDATE shop.every_type SET a_text[1] = NULL WHERE id = 1", "shop.every_type"),
    "the last bit of a float": ("UPDATE shop.every_type SET c_f8 = c_f8 + 1e-16 WHERE id = 4", "shop.every_type"),
    "a row in another partition": ("WITH gone AS (DELETE FROM shop.orders_2023 WHERE id = 1 RETURNING *) INSERT INTO shop.orders_later "
                                   "SELECT id, date '2030-01-01', customer, state, total, region, remark FROM gone", "shop.orders_2023"),
    "a sequence": ("SELECT nextval('shop.number')", "sequence shop.number"),
    "a dropped index": ("DROP INDEX shop.product_tags", "index shop.product_tags"),
    "a constraint": ("ALTER TABLE shop.coupon DROP CONSTRAINT coupon_percent", "constraint shop.coupon coupon_percent"),
    "a disabled trigger": ("ALTER TABLE shop.product DISABLE TRIGGER product_touch", "trigger shop.product product_touch"),
    "a grant": ("REVOKE SELECT ON shop.click FROM shop_reader", "grant shop.click"),
    "a comment": ("COMMENT ON SCHEMA shop IS 'else'", "comment schema shop"),
    "a default": ("ALTER TABLE shop.orders ALTER state SET DEFAULT 'paid'", "column shop.orders.state"),
    "a table more": ("CREATE TABLE public.more ()", "table public.more"),
}


@pytest.fixture
def shops(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    for cluster in (source, target):
        cluster.create_database("app")
        cluster.psql(SQL / "shop_roles.sql", database="app")
    source.psql(SQL / "shop.sql", database="app", scale=1)
    source.copy_database("app", target)
    return source, target


def test_a_faithful_copy_is_equal_and_each_alteration_is_found_and_named(shops):
    source, target = shops
    found = assert_equal(source, target, "app", ignore=("shop.sales",))
    assert found.rows > 2000 and len(found.tables) > 20
    for what, (statement, named) in ALTERATIONS.items():
        target.execute(f"BEGIN; SET session_replication_role = replica; {statement}; COMMIT", "app")
        differences = "\n".join(compare(source, target, "app").differences)
        assert named in differences, f"{what}: {differences}"
        with psycopg.connect(target.dsn("postgres"), autocommit=True) as session:
            session.execute("DROP DATABASE app WITH (FORCE)")
        target.create_database("app")
        source.copy_database("app", target)


def test_the_mixed_writer_writes_much_and_survives_a_crash_of_its_server(world: World, seed: int):
    source = world.cluster("source")
    Mixed.prepare(source, "postgres")
    total = source.value("SELECT sum(balance) FROM mixed.account")
    load = world.mixed(source, "postgres", seed).start()
    wait_until(lambda: load.transactions > 300, 30, "300 transactions")
    source.crash()
    before = load.transactions
    source.start()
    wait_until(lambda: load.transactions > before + 300, 30, "300 transactions after the crash")
    source.kill()
    source.start()
    load.stop()
    assert source.value("SELECT sum(balance) FROM mixed.account") == total


def test_clusters_of_one_family_share_their_identity_and_others_do_not(world: World):
    identity = "SELECT system_identifier FROM pg_control_system()"
    one, twin, other = world.cluster("one", family="twins"), world.cluster("two", family="twins"), world.cluster("three", family="other")
    assert one.value(identity) == twin.value(identity) != other.value(identity)


def test_a_restored_backup_has_forgotten_what_came_later(world: World):
    source = world.cluster("source")
    source.execute("CREATE TABLE t AS SELECT 1 AS a")
    source.stop()
    source.backup(world.folder / "backup")
    source.start().execute("INSERT INTO t VALUES (2)")
    source.stop()
    source.restore(world.folder / "backup")
    assert source.start().query("SELECT a FROM t") == [(1,)]


def test_the_proxy_is_a_bad_network_on_demand(world: World):
    source = world.cluster("source")
    proxy = world.proxy(source)
    session = psycopg.connect(source.dsn(port=proxy.port), autocommit=True)

    proxy.delay(0.2)
    begun = time.monotonic()
    session.execute("SELECT 1")
    assert time.monotonic() - begun > 0.35  # there and back
    proxy.delay(0)

    proxy.throttle(500_000)
    begun = time.monotonic()
    session.execute("SELECT repeat('x', 500000)")
    assert time.monotonic() - begun > 0.8
    proxy.throttle(0)

    assert proxy.cut() == 1
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(source.dsn(port=proxy.port))
    proxy.refuse(False)

    proxy.inspect(lambda chunk: b"secret" in chunk)
    with psycopg.connect(source.dsn(port=proxy.port), autocommit=True) as other:
        other.execute("SELECT 'public'")
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 'se' || 'cret'")
    proxy.inspect(None)

    frozen = psycopg.connect(source.dsn(port=proxy.port), autocommit=True)
    pid = frozen.info.backend_pid
    proxy.half_close()
    wait_until(lambda: not source.query("SELECT FROM pg_stat_activity WHERE pid = %s", parameters=(pid,)), 10,
               "the server ends a session whose client sends no more")
    proxy.freeze()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(source.dsn(port=proxy.port), connect_timeout=2)
    proxy.thaw()
    lost = psycopg.connect(source.dsn(port=proxy.port), autocommit=True)
    pid = lost.info.backend_pid
    proxy.lose_server()
    wait_until(lambda: not source.query("SELECT FROM pg_stat_activity WHERE pid = %s", parameters=(pid,)), 10, "the server's side is gone")
    lost.pgconn.send_query(b"SELECT 1")  # nobody told the client
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: (lost.pgconn.consume_input(), not lost.pgconn.is_busy())[1], 1, "an answer")
    lost.close()


def test_a_half_closed_connection_still_brings_what_the_server_says():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener.getsockname()[1])
        try:
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(b"before")
                server, _ = listener.accept()
                with server:
                    assert server.recv(6, socket.MSG_WAITALL) == b"before"
                    proxy.half_close()
                    assert server.recv(1) == b""
                    for _ in range(20):
                        client.sendall(b"goes nowhere")
                        server.sendall(b"y")
                        assert client.recv(1) == b"y"
        finally:
            proxy.close()


def test_what_is_left_behind_is_named(world: World):
    source = world.cluster("source")
    assert leftovers(source, "postgres") == []
    source.execute("CREATE PUBLICATION pgtide_1; CREATE SCHEMA pgtide; SELECT pg_create_physical_replication_slot('pgtide_1')")
    with source.connect(application_name="pgtide 1 lane 1"):
        assert leftovers(source, "postgres") == [
            "source: replication slot pgtide_1", "source: session pgtide 1 lane 1", "source: publication pgtide_1", "source: schema pgtide"]


def test_waiting_in_vain_says_for_what():
    with pytest.raises(DeadlineExceeded, match="the moon turns blue"):
        wait_until(lambda: 0, 0.1, "the moon turns blue")
