"""Random histories under random mishaps: at each quiet point all rows of both sides are equal.

    writers ──▶ source ⚡──(proxy ⚡)── pgtide ⚡ ──(proxy ⚡)── target ⚡

The writers: Mixed (inserts, updates, deletes, key changes, swaps, partitions, savepoints, rollbacks), and beside it prepared transactions,
transactions larger than a window with subtransactions, truncates, DDL mixed with rows, and whatever else there is (harness/zoo). The plan of mishaps comes from the seed alone: the same --seed strikes in the
same order. What the writers do depends on the moment too, so a failure prints plan and seed and may need several runs to come again.

CI runs a round or two of each in about two minutes; `make torture` sets PGTIDE_TORTURE_SECONDS and runs hours.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from typing import Callable, Optional

import psycopg
import pytest

from harness import zoo
from harness.load import Session
from harness.pgtide import FAILED, INTERRUPTED, REFUSED
from harness.wait import let_pass, wait_until
from harness.world import BadPair, Pair, World

SECONDS = float(os.environ.get("PGTIDE_TORTURE_SECONDS", "20"))
QUIET_EVERY = 6    # mishaps between two quiet points
LARGE = 20_000
TABLES = """
CREATE SCHEMA torture;
CREATE TABLE torture.large (id integer PRIMARY KEY, a text, b integer); CREATE SEQUENCE torture.large_id;
CREATE TABLE torture.emptied (id serial PRIMARY KEY, v text); CREATE TABLE torture.emptied_too (id integer PRIMARY KEY);
CREATE TABLE torture.parted (id integer PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE torture.parted_0 PARTITION OF torture.parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE torture.parted_1 PARTITION OF torture.parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE torture.prepared (id serial PRIMARY KEY, what text);
CREATE SCHEMA ddl; CREATE SEQUENCE ddl.names;
"""


class Writer:
    """One thread with one session that goes on through crashes of the source."""

    def __init__(self, pair: Pair, rng: random.Random, deed: Callable[[Session, random.Random], None], pause_s: float = 1) -> None:
        self._pair, self._rng, self._deed, self._pause_s = pair, rng, deed, pause_s
        self._stop = threading.Event()
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(120)
        if self._error is not None:
            raise AssertionError("a writer failed") from self._error

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._pair.source.dsn(self._pair.database), autocommit=True, connect_timeout=5) as session:
                    while not self._stop.is_set():
                        self._deed(session, self._rng)
                        self._stop.wait(self._rng.random() * self._pause_s)
            except psycopg.OperationalError as error:
                if not isinstance(error, (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)) and error.sqlstate is not None and error.sqlstate[:2] not in ("57", "08"):
                    print(f"a writer goes on after {error!r}")
                self._stop.wait(0.2)    # the source is down, or two writers met
            except BaseException as error:  # pylint: disable=broad-except
                self._error = error
                return


def write_large(session: Session, rng: random.Random) -> None:
    """More rows than a window has, with savepoints, some of them rolled back."""
    with session.transaction(force_rollback=rng.random() < 0.2):
        low = int(session.execute(f"SELECT setval('torture.large_id', nextval('torture.large_id') + {LARGE})").fetchone()[0]) - LARGE    # type: ignore[index]
        session.execute(f"INSERT INTO torture.large SELECT n, md5(n::text), 0 FROM generate_series({low}, {low + rng.randrange(LARGE)}) n")
        for _ in range(rng.randrange(4)):
            with session.transaction(force_rollback=rng.random() < 0.3):
                session.execute(f"UPDATE torture.large SET b = b + 1 WHERE id % {rng.randrange(2, 9)} = 0")
        choice = rng.random()
        if choice < 0.4:
            session.execute(f"DELETE FROM torture.large WHERE id < {low - LARGE}")
        elif choice < 0.6:
            session.execute(f"UPDATE torture.large SET id = -id WHERE id % {rng.randrange(3, 50)} = 0 AND id > 0 AND -id NOT IN (SELECT id FROM torture.large)")


def write_prepared(session: Session, rng: random.Random) -> None:
    name = f"torture {rng.getrandbits(48)}"
    session.execute("BEGIN")
    session.execute(f"INSERT INTO torture.prepared (what) SELECT '{name}' FROM generate_series(1, {rng.randrange(1, 50)})")
    session.execute(f"DELETE FROM torture.prepared WHERE id % {rng.randrange(2, 30)} = 0")
    session.execute(f"PREPARE TRANSACTION '{name}'")
    let_pass(rng.random() * 0.5)
    session.execute(f"{'COMMIT' if rng.random() < 0.7 else 'ROLLBACK'} PREPARED '{name}'")


def end_prepared(pair: BadPair, rng: random.Random) -> None:
    """Those whose writer lost its session to a crash."""
    with pair.source.connect(pair.database) as session:
        for (name,) in session.execute("SELECT gid FROM pg_prepared_xacts ORDER BY gid").fetchall():
            session.execute(f"{'COMMIT' if rng.random() < 0.5 else 'ROLLBACK'} PREPARED '{name}'")


def write_emptied(session: Session, rng: random.Random) -> None:
    rows = f"SELECT n FROM generate_series(1, {rng.randrange(200)}) n"
    deeds = [f"INSERT INTO torture.emptied (v) SELECT n::text FROM ({rows}) AS r", f"INSERT INTO torture.emptied_too {rows} ON CONFLICT DO NOTHING",
             f"INSERT INTO torture.parted {rows.replace('SELECT n', 'SELECT n, n::text')} ON CONFLICT DO NOTHING", "UPDATE torture.parted SET v = v || '!' WHERE id % 3 = 0",
             "TRUNCATE torture.emptied RESTART IDENTITY", "TRUNCATE torture.emptied, torture.emptied_too", "TRUNCATE torture.parted", "TRUNCATE torture.parted_1"]
    with session.transaction(force_rollback=rng.random() < 0.15):
        for deed in rng.choices(deeds, [5, 5, 5, 3, 1, 1, 1, 1], k=rng.choice([1, 1, 3, 6])):
            session.execute(deed)


def columns_of(session: Session, table: str) -> list[tuple[str, str]]:
    """Those that are no part of a key and not computed, with their types."""
    return session.execute("SELECT quote_ident(attname), atttypid::regtype::text FROM pg_attribute a WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND NOT EXISTS "
                           "(SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY (indkey)) ORDER BY attnum", (table,)).fetchall()


def ddl_create(session: Session, rng: random.Random, tables: list[str]) -> None:
    name = f"ddl.\"t {session.execute('SELECT nextval($$ddl.names$$)').fetchone()[0]}\""    # type: ignore[index]
    forms = [f"CREATE TABLE {name} (id serial PRIMARY KEY, a int, b text DEFAULT 'b;')", f"CREATE TABLE {name} (a int, b text)",
             f"CREATE TABLE {name} AS SELECT g AS a, g::text AS b, md5(g::text) AS c FROM generate_series(1, {rng.randrange(300)}) g"]
    if tables:
        forms.append(f"CREATE TABLE {name} (LIKE {rng.choice(tables)} INCLUDING ALL)")
        forms.append(f"CREATE TABLE {name} AS TABLE {rng.choice(tables)}")
    session.execute(rng.choice(forms))


def ddl_rows(session: Session, rng: random.Random, tables: list[str]) -> None:
    table = rng.choice(tables)
    columns = columns_of(session, table)
    if columns:
        values = [{"integer": "g", "bigint": "g * 3000000000", "numeric": "g / 7.0", "text": "md5(g::text)"}.get(kind, "NULL") for _, kind in columns]
        session.execute(f"INSERT INTO {table} ({', '.join(c for c, _ in columns)}) SELECT {', '.join(values)} FROM generate_series(1, {rng.randrange(1, 60)}) g")
        session.execute(f"UPDATE {table} SET {columns[0][0]} = {columns[0][0]} WHERE ctid IN (SELECT ctid FROM {table} LIMIT 20)")
        session.execute(f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} LIMIT {rng.randrange(9)})")


def ddl_add(session: Session, rng: random.Random, tables: list[str]) -> None:
    kind = rng.choice(["int DEFAULT 7", "text", "numeric DEFAULT 1.50", "text DEFAULT 'x' NOT NULL", "int GENERATED ALWAYS AS (5) STORED"])
    session.execute(f"ALTER TABLE {rng.choice(tables)} ADD \"c {rng.getrandbits(30)}\" {kind}")


def ddl_column(session: Session, rng: random.Random, tables: list[str]) -> None:
    """Dropped, renamed, or of another type."""
    table = rng.choice(tables)
    columns = columns_of(session, table)
    if len(columns) > 1:
        column, kind = rng.choice(columns)
        wider = {"integer": "bigint", "bigint": "numeric", "numeric": "text"}.get(kind)
        choices = [f"DROP {column}", f"RENAME {column} TO \"r {rng.getrandbits(30)}\"", f"ALTER {column} SET DEFAULT NULL"]
        if wider is not None:
            choices += [f"ALTER {column} DROP DEFAULT, ALTER {column} TYPE {wider}"] * 2
        session.execute(f"ALTER TABLE {table} {rng.choice(choices)}")


def ddl_table(session: Session, rng: random.Random, tables: list[str]) -> None:
    table = rng.choice(tables)
    number = session.execute("SELECT nextval('ddl.names')").fetchone()[0]    # type: ignore[index]
    session.execute(rng.choice([f"ALTER TABLE {table} RENAME TO \"t {number}\"", f"TRUNCATE {table}", f"CREATE INDEX \"i {number}\" ON {table} ((1))", f"COMMENT ON TABLE {table} IS '{number}'",
                                f"DROP TABLE {table} CASCADE", f"CREATE TYPE ddl.e{number} AS ENUM ('x')", f"DO $$ BEGIN EXECUTE 'ALTER TABLE {table} ADD d{number} int'; END $$"]))


def write_ddl(session: Session, rng: random.Random) -> None:
    """Statements and rows in one transaction, some of it rolled back."""
    with session.transaction(force_rollback=rng.random() < 0.2):
        for _ in range(rng.choice([1, 1, 2, 5])):
            with session.transaction(force_rollback=rng.random() < 0.2):
                tables = [name for (name,) in session.execute("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'ddl'::regnamespace AND relkind = 'r' ORDER BY oid").fetchall()]
                deed = ddl_create if len(tables) < 3 else rng.choice([ddl_rows, ddl_rows, ddl_add, ddl_column, ddl_column, ddl_table])
                deed(session, rng, tables)


WRITERS = (write_large, write_prepared, write_emptied)


# Mishaps. Each leaves the world in a state from which a sync can go on.

def kill_pgtide(pair: BadPair, rng: random.Random) -> None:
    pair.pgtide.run.kill()


def interrupt_pgtide(pair: BadPair, rng: random.Random) -> None:
    if pair.pgtide.run.is_running:
        pair.pgtide.run.interrupt(60)    # it may have ended by itself at this very moment: check_end judges either way


def freeze_pgtide(pair: BadPair, rng: random.Random) -> None:
    pair.pgtide.run.signal(signal.SIGSTOP)
    let_pass(rng.random() * 3)
    pair.pgtide.run.signal(signal.SIGCONT)


def crash_source(pair: BadPair, rng: random.Random) -> None:
    pair.source.restart(signal.SIGQUIT)


def restart_source(pair: BadPair, rng: random.Random) -> None:
    """In order. It waits for whoever receives; how long that takes depends on how far the target is behind."""
    try:
        pair.source.stop()
    except subprocess.TimeoutExpired:
        pass    # it was killed then
    pair.source.start()


def crash_target(pair: BadPair, rng: random.Random) -> None:
    pair.target.kill()
    let_pass(rng.random())
    pair.target.start()


def end_backends(pair: BadPair, rng: random.Random) -> None:
    side = rng.choice([pair.source, pair.target])
    side.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtide %'")


def cut(pair: BadPair, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 4)):
        rng.choice([pair.source_net, pair.target_net]).cut()
        let_pass(rng.random() * 0.5)


def pull_the_cable(pair: BadPair, rng: random.Random) -> None:
    net = rng.choice([pair.source_net, pair.target_net])
    net.freeze()
    let_pass(rng.random() * 2)
    if rng.random() < 0.5:
        net.cut()
    net.thaw()


def half_close(pair: BadPair, rng: random.Random) -> None:
    rng.choice([pair.source_net, pair.target_net]).half_close()


def refuse(pair: BadPair, rng: random.Random) -> None:
    net = rng.choice([pair.source_net, pair.target_net])
    net.refuse()
    net.cut()
    let_pass(rng.random() * 2)
    net.refuse(False)


def slow_down(pair: BadPair, rng: random.Random) -> None:
    net = rng.choice([pair.source_net, pair.target_net])
    net.delay(rng.random() * 0.05)
    let_pass(rng.random() * 2)
    net.delay(0)


MISHAPS: dict[Callable[[BadPair, random.Random], None], int] = {
    kill_pgtide: 5, interrupt_pgtide: 2, freeze_pgtide: 1, crash_source: 2, restart_source: 1, crash_target: 2, end_backends: 2, cut: 3, pull_the_cable: 2, half_close: 1, refuse: 1, slow_down: 1,
}


class Torture:
    def __init__(self, world: World, pair: BadPair, seed: int, options: list[tuple[str, ...]]) -> None:
        self.world, self.pair, self.seed, self.options = world, pair, seed, options
        self.rng = random.Random(seed)    # of the plan alone
        self.plan: list[str] = []
        self.rounds = 0
        self.may_alter = False    # nothing may be altered before the copy is done

    def alter(self, session: Session, rng: random.Random) -> None:
        if self.may_alter:
            try:
                write_ddl(session, rng)
            except psycopg.errors.NotNullViolation:
                pass    # the default of a key went with the table whose sequence it used

    def anything(self, session: Session, rng: random.Random) -> None:
        zoo.write(session, rng, self.may_alter)

    def check_end(self) -> None:
        """It ends by itself when it was asked to, or when it lost a server before it followed or before it began; never with a worse error."""
        run = self.pair.pgtide.run
        if run.status in (INTERRUPTED, -signal.SIGKILL):
            return
        errors = [event["kind"] for event in run.events() if event["event"] == "error"]
        assert (run.status, errors) in ((FAILED, ["transient"]), (REFUSED, ["refused"])), f"the sync ended with {run.status}\n{self.pair.pgtide.last_words()}"

    def ensure_running(self) -> None:
        if not self.pair.pgtide.runs or not self.pair.pgtide.run.is_running:
            if self.pair.pgtide.runs:
                self.check_end()
            self.pair.pgtide.start("--json", *self.rng.choice(self.options))

    def follows(self) -> bool:
        self.ensure_running()
        is_following = self.pair.pgtide.state() == "incremental"
        self.may_alter = self.may_alter or is_following
        return is_following

    def round(self) -> None:
        """Writers write, things go wrong; then quiet, and everything is equal."""
        self.rounds += 1
        load = self.world.mixed(self.pair.source, self.pair.database, self.seed + self.rounds).start()
        writers = [Writer(self.pair, random.Random(self.seed * 100 + self.rounds * 10 + n), deed) for n, deed in enumerate((*WRITERS, self.alter, self.anything))]
        try:
            for _ in range(QUIET_EVERY):
                self.follows()
                let_pass(self.rng.choice([0.05, 0.5, 2, 4]) * self.rng.random())
                mishap = self.rng.choices(list(MISHAPS), list(MISHAPS.values()))[0]
                self.plan.append(mishap.__name__)
                mishap(self.pair, self.rng)
        finally:
            for writer in writers:
                writer.stop()
            load.stop()
        self.quiet()

    def quiet(self) -> None:
        end_prepared(self.pair, self.rng)
        wait_until(self.follows, 180, "it follows", every_s=0.2)
        self.pair.pgtide.caught_up(180)
        self.pair.assert_equal(objects=False, sequences=False)
        status = self.pair.pgtide.status()
        assert status["conflicts"] == 0, status


PIECES = [("--decoding-work-mem", "64kB"), ()]    # large transactions come while they are in progress
LANES = [("--lanes", "4", "--decoding-work-mem", "64kB"), ("--lanes", "2"), ()]


@pytest.mark.parametrize("options", [PIECES, [("--ack", "target")], LANES], ids=["spool", "target", "lanes"])
def test_random_histories_under_random_mishaps(world: World, seed: int, options: list[tuple[str, ...]]):
    pair = world.bad_pair(source_settings={"max_prepared_transactions": 20, "logical_decoding_work_mem": "256kB"})
    pair.fill_mixed().on_source(TABLES)
    pair.on_source(zoo.SCHEMA)
    torture = Torture(world, pair, seed, options)
    until = time.monotonic() + SECONDS
    try:
        while torture.rounds == 0 or time.monotonic() < until:
            torture.round()
    except BaseException:
        print(f"seed {seed}, round {torture.rounds}, plan {' '.join(torture.plan)}")
        raise
    wait_until(torture.follows, 60, "it follows", every_s=0.2)
    pair.finish(180)


def test_statements_of_every_kind_by_several_sessions(world: World, seed: int):
    """Without mishaps, so that what is wrong is wrong with what was written. In pieces: before 16 or so the source fails to decode some of these before they have ended."""
    pair = world.pair(source_settings={"max_prepared_transactions": 20, "logical_decoding_work_mem": "64kB"})
    pair.on_source(zoo.SCHEMA)
    pair.pgtide.follow("--lanes", "3", "--decoding-work-mem", "64kB")
    until, rounds = time.monotonic() + SECONDS / 2, 0
    while rounds == 0 or time.monotonic() < until:
        rounds += 1
        writers = [Writer(pair, random.Random(seed * 100 + rounds * 10 + n), zoo.write, pause_s=0) for n in range(3)]
        let_pass(5)
        for writer in writers:
            writer.stop()
        pair.pgtide.caught_up(180)
        pair.assert_equal(objects=False, sequences=False)
        assert pair.pgtide.status()["conflicts"] == 0
    pair.finish(180)
