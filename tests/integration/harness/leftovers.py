"""What pgtide must not leave behind after `stop`, by its published names: everything it makes is called pgtide or pgtide_<task>."""

from __future__ import annotations

from .cluster import Cluster

ON_THE_SERVER = """
SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'
UNION ALL
SELECT 'replication origin ' || roname FROM pg_replication_origin WHERE roname LIKE 'pgtide%'
UNION ALL
SELECT 'session ' || application_name FROM pg_stat_activity WHERE application_name LIKE 'pgtide %'
ORDER BY 1
"""

IN_THE_DATABASE = """
SELECT 'publication ' || pubname FROM pg_publication WHERE pubname LIKE 'pgtide%'
UNION ALL
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'pgtide%'
UNION ALL
SELECT 'event trigger ' || evtname FROM pg_event_trigger WHERE evtname LIKE '%pgtide%'
ORDER BY 1
"""


def leftovers(cluster: Cluster, database: str) -> list[str]:
    """In words, with the server's name; empty when there is nothing. The server's sessions end a moment after the client's."""
    found = cluster.query(ON_THE_SERVER) + cluster.query(IN_THE_DATABASE, database)
    return [f"{cluster.name}: {thing}" for (thing,) in found]
