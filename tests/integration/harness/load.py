"""Writers on the source.

`Pgbench` runs pgbench in the background. `Mixed` is a seeded random writer in several threads on the tables of sql/mixed.sql: inserts, updates,
deletes, key changes, swaps of unique values, row movement between partitions, large TOAST values, savepoints rolled back, commits in
another order than begins. `Mixed` goes on through crashes of the source: what it wrote is whatever the source has.
"""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Optional

import psycopg

from .cluster import Cluster
from .wait import let_pass

SQL = Path(__file__).parent.parent / "sql"
Session = psycopg.Connection[Any]


class Pgbench:
    def __init__(self, cluster: Cluster, database: str, log: Path) -> None:
        self._program = cluster.installation.program("pgbench")
        self._dsn = cluster.dsn(database)
        self._cluster = cluster
        self._database = database
        self._log = log
        self._process: Optional[subprocess.Popen[bytes]] = None

    def initialize(self, scale: int = 1) -> "Pgbench":
        """The four tables; history, which has no key, is identified by all of its columns."""
        subprocess.run([self._program, "-i", "-q", "-s", str(scale), "-d", self._dsn], check=True, capture_output=True)
        self._cluster.execute("ALTER TABLE pgbench_history REPLICA IDENTITY FULL", self._database)
        return self

    def start(self, *options: str, clients: int = 2, rate: int = 0, seconds: int = 600) -> "Pgbench":
        command = [self._program, "-n", "-c", str(clients), "-j", "1", "-T", str(seconds), *options]
        if rate:
            command += ["-R", str(rate)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen([*command, self._dsn], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)


class Mixed:
    """`keys`: size of the range from which ids are drawn, smaller means more collisions between transactions."""

    def __init__(self, cluster: Cluster, database: str, seed: int, threads: int = 3, keys: int = 2000) -> None:
        self._cluster = cluster
        self._database = database
        self._keys = keys
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self.transactions = 0
        self._threads = [threading.Thread(target=self._write, args=(random.Random(seed * 1000 + n), n), daemon=True) for n in range(threads)]

    @staticmethod
    def prepare(cluster: Cluster, database: str, rows: int = 2000) -> None:
        cluster.psql(SQL / "mixed.sql", database=database, rows=rows)

    def start(self) -> "Mixed":
        for thread in self._threads:
            thread.start()
        return self

    def run_for(self, seconds: float) -> "Mixed":
        """Lets it write for a while and raises what it met."""
        let_pass(seconds)
        self._raise()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(60)
        self._raise()

    def _raise(self) -> None:
        if self._errors:
            raise AssertionError("a writer failed") from self._errors[0]

    def _write(self, rng: random.Random, number: int) -> None:
        session: Optional[Session] = None
        while not self._stop.is_set():
            try:
                if session is None or session.closed:
                    session = psycopg.connect(self._cluster.dsn(self._database), application_name=f"writer {number}", connect_timeout=5)
                self._transaction(session, rng)
                self.transactions += 1
            except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                assert session is not None
                session.rollback()  # two writers met; the transaction is one of those that never happened
            except psycopg.OperationalError:
                if session is not None:
                    session.close()
                self._stop.wait(0.2)  # the source is down
            except BaseException as error:  # pylint: disable=broad-except
                self._errors.append(error)
                return
        if session is not None:
            session.close()

    def _transaction(self, session: Session, rng: random.Random) -> None:
        for _ in range(rng.choice((1, 1, 2, 3, 5, 30))):
            if rng.random() < 0.15:
                self._savepoint(session, rng)
            else:
                rng.choice(DEEDS)(session, rng, self._keys)
            if rng.random() < 0.05:
                self._stop.wait(rng.random() * 0.05)  # so that commits come in another order than begins
        if rng.random() < 0.07:
            session.rollback()
        else:
            session.commit()

    def _savepoint(self, session: Session, rng: random.Random) -> None:
        session.execute("SAVEPOINT s")
        rng.choice(DEEDS)(session, rng, self._keys)
        session.execute("ROLLBACK TO SAVEPOINT s" if rng.random() < 0.6 else "RELEASE SAVEPOINT s")


# What a writer does. Each deed is one or a few statements that may find nothing to do.

def _text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("abc äöü表'\"\\\n\t{},", k=length))


def _big(rng: random.Random) -> Optional[str]:
    """Now and then too large for its page: kept beside, compressed or not."""
    choice = rng.random()
    if choice < 0.6:
        return None if choice < 0.2 else _text(rng, 20)
    if choice < 0.8:
        return _text(rng, 50) * 400
    return "".join(rng.choices("0123456789abcdef", k=9000))


def _insert_keyed(session: Session, rng: random.Random, keys: int) -> None:
    session.execute("INSERT INTO mixed.keyed (id, small, txt, big, num, j, arr, ts) VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp()) "
                    "ON CONFLICT (id) DO UPDATE SET txt = excluded.txt, num = excluded.num",
                    (rng.randrange(keys), rng.randrange(-9, 9), _text(rng, 12), _big(rng), rng.choice([None, rng.random(), "NaN"]),
                     '{"k": [%d, null, "x"]}' % rng.randrange(9), [rng.randrange(9), None]))


def _update_keyed(session: Session, rng: random.Random, keys: int) -> None:
    """Leaves the large value alone: it comes as unchanged."""
    session.execute("UPDATE mixed.keyed SET small = %s, txt = %s WHERE id = %s", (rng.randrange(-9, 9), _text(rng, 8), rng.randrange(keys)))


def _update_many(session: Session, rng: random.Random, keys: int) -> None:
    low = rng.randrange(keys)
    session.execute("UPDATE mixed.keyed SET num = coalesce(num, 0) + 1 WHERE id BETWEEN %s AND %s", (low, low + 30))


def _update_big(session: Session, rng: random.Random, keys: int) -> None:
    session.execute("UPDATE mixed.keyed SET big = %s WHERE id = %s", (_big(rng), rng.randrange(keys)))


def _delete_keyed(session: Session, rng: random.Random, keys: int) -> None:
    session.execute("DELETE FROM mixed.keyed WHERE id = %s", (rng.randrange(keys),))


def _change_key(session: Session, rng: random.Random, keys: int) -> None:
    session.execute("UPDATE mixed.keyed SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM mixed.keyed WHERE id = %s)",
                    (keys + rng.randrange(keys), rng.randrange(2 * keys), keys + rng.randrange(keys)))


def _pair(session: Session, rng: random.Random, keys: int) -> None:
    key = (rng.randrange(20), f"b{rng.randrange(keys // 20)}")
    session.execute("INSERT INTO mixed.pair (a, b, val) VALUES (%s, %s, 1) ON CONFLICT (a, b) DO UPDATE SET val = mixed.pair.val + 1", key)
    if rng.random() < 0.3:
        session.execute("DELETE FROM mixed.pair WHERE (a, b) = (%s, %s)", key)


def _swap_codes(session: Session, rng: random.Random, keys: int) -> None:
    """Two rows exchange a unique value by way of a third one."""
    one, other = sorted(rng.sample(range(100), 2))
    session.execute("SELECT FROM mixed.uniq WHERE id IN (%s, %s) ORDER BY id FOR UPDATE", (one, other))
    codes = dict(session.execute("SELECT id, code FROM mixed.uniq WHERE id IN (%s, %s)", (one, other)).fetchall())
    if len(codes) == 2:
        for row, code in ((one, -1 - one), (other, codes[one]), (one, codes[other])):
            session.execute("UPDATE mixed.uniq SET code = %s WHERE id = %s", (code, row))


def _replace_code(session: Session, rng: random.Random, keys: int) -> None:
    """A unique value goes from a deleted row to a new one within one transaction."""
    row = rng.randrange(100)
    found = session.execute("DELETE FROM mixed.uniq WHERE id = %s RETURNING code", (row,)).fetchone()
    if found is not None:
        session.execute("INSERT INTO mixed.uniq (id, code, note) VALUES (%s, %s, 'again')", (row, found[0]))


def _bag(session: Session, rng: random.Random, keys: int) -> None:
    """Equal rows in a table without any key: exactly one of them is meant."""
    row = (rng.randrange(5), rng.choice([None, "x", "y"]))
    choice = rng.random()
    if choice < 0.5:
        session.execute("INSERT INTO mixed.bag (a, b) VALUES (%s, %s)", row)
    elif choice < 0.75:
        session.execute("DELETE FROM mixed.bag WHERE ctid = (SELECT ctid FROM mixed.bag WHERE a = %s LIMIT 1)", (row[0],))
    else:
        session.execute("UPDATE mixed.bag SET b = %s, f = 0.1 + a WHERE ctid = (SELECT ctid FROM mixed.bag WHERE a = %s LIMIT 1)", (row[1], row[0]))


def _by_index(session: Session, rng: random.Random, keys: int) -> None:
    session.execute("INSERT INTO mixed.by_index (id, code, val) VALUES (nextval('mixed.by_index_id'), %s, 0) "
                    "ON CONFLICT (code) DO UPDATE SET val = mixed.by_index.val + 1", (f"c{rng.randrange(300)}",))


def _part(session: Session, rng: random.Random, keys: int) -> None:
    """A change of the day moves the row to another partition."""
    row = rng.randrange(keys)
    session.execute("INSERT INTO mixed.part (id, day, val) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (row, rng.randrange(30), _text(rng, 5)))
    if rng.random() < 0.4:
        session.execute("UPDATE mixed.part SET day = (day + 11) %% 30 WHERE id = %s AND NOT EXISTS (SELECT FROM mixed.part p WHERE p.id = %s AND p.day <> part.day)",
                        (row, row))


def _journal(session: Session, rng: random.Random, keys: int) -> None:
    """Written to only, without key: a lost or doubled row stays one."""
    session.execute("INSERT INTO mixed.journal (what) SELECT %s FROM generate_series(1, %s)", (_text(rng, 4), rng.randrange(1, 9)))


def _transfer(session: Session, rng: random.Random, keys: int) -> None:
    """The sum over all accounts is the same after every transaction."""
    one, other = sorted(rng.sample(range(50), 2))
    amount = rng.randrange(1, 50)
    session.execute("UPDATE mixed.account SET balance = balance - %s WHERE id = %s", (amount, one))
    session.execute("UPDATE mixed.account SET balance = balance + %s WHERE id = %s", (amount, other))


Deed = Callable[[Session, random.Random, int], None]
DEEDS: tuple[Deed, ...] = (_insert_keyed, _insert_keyed, _update_keyed, _update_keyed, _update_many, _update_big, _delete_keyed, _change_key, _pair,
                           _swap_codes, _replace_code, _bag, _by_index, _part, _journal, _transfer)
