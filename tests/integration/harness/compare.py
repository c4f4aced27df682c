"""The verdict: are two databases equal? By plain SQL, without any help of pgtide.

Each table's rows are compared as a multiset: number of rows and two sums over md5 of each row's text, under identical settings. A row's text is
`ROW(columns in the order of their names)::text`, so two tables may have their columns in another order. The objects are compared by
their definitions as the server prints them (objects.sql).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from .cluster import Cluster

OBJECTS = (Path(__file__).parent / "objects.sql").read_text(encoding="utf-8")
NAMED_ALIKE = {"schema", "extension", "relation", "parent", "column", "index", "rule", "policy", "statistics", "sequence", "enum", "domain", "range",
               "composite"}
SHOWN = 20  # differing rows of a table

SETTINGS = """
SET search_path = ''; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
SET bytea_output = 'hex'; SET row_security = off; SET statement_timeout = 0; SET lc_monetary = 'C'; SET xmloption = 'content';
SET client_min_messages = warning
"""

# Every table that stores rows itself, partitions, inheritance children and unlogged tables included, with its columns by name
TABLES = """
SELECT n.nspname, c.relname, ARRAY(SELECT attname::text FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attname::text COLLATE "C")
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgtide')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY 1, 2
"""

SEQUENCES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname !~ '^pg_' AND n.nspname <> 'pgtide' ORDER BY 1, 2
"""

DIGEST = """
SELECT count(*), coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint::numeric), 0), coalesce(sum(('x' || right(hash, 16))::bit(64)::bigint::numeric), 0)
FROM (SELECT md5({row}::text) AS hash FROM ONLY {table}) AS rows
"""
HASHES = "SELECT md5({row}::text) FROM ONLY {table}"
ROWS = "SELECT md5({row}::text), {row}::text FROM ONLY {table} WHERE md5({row}::text) = ANY ({wanted})"


@dataclass(frozen=True)
class TableDigest:
    """Equal digests: equal rows."""

    rows: int
    low: int
    high: int

    def short(self) -> str:
        return f"{(self.low * 3 + self.high) & (2**64 - 1):016x}"


@dataclass
class Comparison:
    differences: list[str] = field(default_factory=list)
    tables: dict[str, tuple[TableDigest, TableDigest]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def rows(self) -> int:
        return sum(source.rows for source, _ in self.tables.values())


class _Side:
    """One database in one repeatable-read transaction: everything is read as of one moment."""

    def __init__(self, cluster: Cluster, database: str, float_digits: int) -> None:
        self.session: psycopg.Connection[Any] = cluster.connect(database)
        self.session.execute(SETTINGS)
        self.session.execute(f"SET extra_float_digits = {float_digits}")
        self.session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.tables = {(schema, name): columns for schema, name, columns in self.session.execute(TABLES)}

    def _statement(self, text: str, table: tuple[str, str], **parts: sql.Composable) -> sql.Composed:
        """Literals instead of parameters: a name may contain what looks like one."""
        columns = sql.SQL(", ").join(map(sql.Identifier, self.tables[table]))
        row = sql.SQL("ROW({})").format(columns)
        return sql.SQL(text).format(row=row, table=sql.Identifier(*table), **parts)

    def digest(self, table: tuple[str, str]) -> TableDigest:
        row = self.session.execute(self._statement(DIGEST, table)).fetchone()
        assert row is not None
        return TableDigest(int(row[0]), int(row[1]), int(row[2]))

    def hashes(self, table: tuple[str, str]) -> Counter[str]:
        return Counter(row[0] for row in self.session.execute(self._statement(HASHES, table)))

    def texts(self, table: tuple[str, str], hashes: list[str]) -> dict[str, str]:
        return dict(self.session.execute(self._statement(ROWS, table, wanted=sql.Literal(hashes))).fetchall())

    def sequences(self) -> dict[tuple[str, str], tuple[int, bool]]:
        found = {}
        for schema, name in self.session.execute(SEQUENCES).fetchall():
            state = self.session.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))).fetchone()
            assert state is not None
            found[schema, name] = state
        return found

    def objects(self) -> set[tuple[str, str, str]]:
        return set(self.session.execute(OBJECTS).fetchall())

    def close(self) -> None:
        self.session.close()


def compare(source: Cluster, target: Cluster, database: str, target_database: str = "", *, objects: bool = True,
            sequences: bool = True, ignore: tuple[str, ...] = ()) -> Comparison:
    """`ignore`: "schema.table" of tables that need not be equal."""
    # What 12 and later print in the shortest form that is exact, earlier ones print in other digits: between them, 15 digits have to do.
    float_digits = 3 if (source.installation.major < 12) == (target.installation.major < 12) else 0
    sides = (_Side(source, database, float_digits), _Side(target, target_database or database, float_digits))
    try:
        found = Comparison()
        _compare_tables(sides, found, ignore)
        if sequences:
            _compare_sequences(sides, found)
        if objects:
            _compare_objects(sides, found, source.installation.major == target.installation.major)
        return found
    finally:
        for side in sides:
            side.close()


def assert_equal(source: Cluster, target: Cluster, database: str, target_database: str = "", *, objects: bool = True,
                 sequences: bool = True, ignore: tuple[str, ...] = ()) -> Comparison:
    found = compare(source, target, database, target_database, objects=objects, sequences=sequences, ignore=ignore)
    assert found.equal, f"{source.name} and {target.name} differ:\n" + "\n".join(found.differences)
    return found


def _compare_tables(sides: tuple[_Side, _Side], found: Comparison, ignore: tuple[str, ...]) -> None:
    for table in sorted(set(sides[0].tables) | set(sides[1].tables)):
        name = ".".join(table)
        if name in ignore:
            continue
        missing = [where for where, side in zip(("source", "target"), sides) if table not in side.tables]
        if missing:
            found.differences.append(f"table {name} is missing on the {missing[0]}")
            continue
        if sides[0].tables[table] != sides[1].tables[table]:
            found.differences.append(f"table {name} has columns {sides[0].tables[table]} and {sides[1].tables[table]}")
            continue
        digests = sides[0].digest(table), sides[1].digest(table)
        found.tables[name] = digests
        if digests[0] != digests[1]:
            found.differences.append(_differing_rows(sides, table))


def _differing_rows(sides: tuple[_Side, _Side], table: tuple[str, str]) -> str:
    hashes = sides[0].hashes(table), sides[1].hashes(table)
    only = hashes[0] - hashes[1], hashes[1] - hashes[0]
    texts = tuple(side.texts(table, list(hashes)[:SHOWN]) for side, hashes in zip(sides, only))
    lines = [f"table {'.'.join(table)} ({', '.join(sides[0].tables[table])}): {hashes[0].total()} rows on the source, {hashes[1].total()} on the target"]
    for where, here, there in (("source", 0, 1), ("target", 1, 0)):
        lines += [f"    only on the {where}, {only[here][hash]} times: {_around_difference(text, texts[there])}" for hash, text in texts[here].items()]
        if len(only[here]) > SHOWN:
            lines.append(f"    and {len(only[here]) - SHOWN} more only on the {where}")
    return "\n".join(lines)


def _around_difference(text: str, others: dict[str, str]) -> str:
    """A long row from shortly before the place where it differs from the most similar one of the other side."""
    alike = max((len(commonprefix([text, other])) for other in others.values()), default=0)
    return f"{text[:60]} … {text[alike - 40:][:200]}" if alike > 200 else text[:300]


def _compare_sequences(sides: tuple[_Side, _Side], found: Comparison) -> None:
    states = sides[0].sequences(), sides[1].sequences()
    for name in sorted(set(states[0]) | set(states[1])):
        here, there = states[0].get(name), states[1].get(name)
        if here != there:
            found.differences.append(f"sequence {'.'.join(name)}: {here} on the source, {there} on the target")


def _compare_objects(sides: tuple[_Side, _Side], found: Comparison, same_major: bool) -> None:
    """Majors print the same definition in different ways: between them, each object of these kinds must be there under its name."""
    objects = sides[0].objects(), sides[1].objects()
    if not same_major:
        objects = tuple({(kind, identity, "") for kind, identity, _ in each if kind in NAMED_ALIKE} for each in objects)
    for where, only in (("source", objects[0] - objects[1]), ("target", objects[1] - objects[0])):
        for kind, identity, definition in sorted(only):
            found.differences.append(f"only on the {where}: {kind} {identity}: {definition}")
