"""What tests of a cutover ask: the command itself, and whether the source is frozen."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from .pgtide import OK, Done
from .world import Pair

SETTING = """
SELECT coalesce((SELECT array_to_string(setconfig, ',') FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                  WHERE d.datname = %s AND setrole = 0), '')
"""


def settings(pair: Pair) -> str:
    """Those of the source database, asked from another one: a freeze ends the sessions in the database itself."""
    return str(pair.source.value(SETTING, "postgres", [pair.database]))


def report(done: Done) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.out)
    return document


def cutover(pair: Pair, *options: str, status: int = OK, **environment: str) -> dict[str, Any]:
    done = pair.pgtide.call("cutover", "--yes", "--json", *options, **environment)
    assert done.status == status, f"{done}\n{pair.pgtide.last_words()}"
    return report(done)


def is_frozen(pair: Pair) -> bool:
    return "default_transaction_read_only=on" in settings(pair)


def can_write(pair: Pair) -> bool:
    try:
        pair.on_source("CREATE TABLE IF NOT EXISTS written (a integer PRIMARY KEY); INSERT INTO written VALUES (1) ON CONFLICT DO NOTHING")
        return True
    except psycopg.errors.ReadOnlySqlTransaction:
        return False
