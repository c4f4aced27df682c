"""`pgtide compare --repair` of rows that stand in each other's way: unique values that changed places, whatever makes them unique.

    source                       target
    1 a, 2 b, 3 c                1 b, 2 c, 1003 a       every order of single changes would hold two of one value
"""

from __future__ import annotations

import json
import random

import pytest

from harness.pgtide import FAILED, OK
from harness.world import Pair, World

DIFFERENT = 4
N = 40
TABLES = """
CREATE TABLE referred (id int PRIMARY KEY, u int NOT NULL UNIQUE, t text, late int UNIQUE DEFERRABLE, later int UNIQUE DEFERRABLE INITIALLY DEFERRED, half int, r int4range,
    g int GENERATED ALWAYS AS (u * 2) STORED, n int GENERATED ALWAYS AS IDENTITY, EXCLUDE USING gist (r WITH &&));
CREATE UNIQUE INDEX ON referred (lower(t)); CREATE UNIQUE INDEX ON referred (half) WHERE half > 5;
CREATE TABLE parted (id int PRIMARY KEY, u int, v int) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (21);
CREATE TABLE parted_2 PARTITION OF parted DEFAULT; CREATE UNIQUE INDEX ON parted_1 (u); CREATE UNIQUE INDEX ON parted_2 (u);
CREATE TABLE referring (id int PRIMARY KEY, u int REFERENCES referred (u));
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree, place int UNIQUE)
"""


def mixed(rng: random.Random, values: list[int]) -> list[int]:
    """All of them, or some, in other places."""
    places = rng.sample(range(len(values)), rng.choice([0, 2, 3, len(values)]))
    moved = list(values)
    for here, there in zip(places, places[1:] + places[:1]):
        moved[here] = values[there]
    return moved


def fill(rng: random.Random, is_target: bool, keys_are_kept: bool = False) -> str:
    """On the target some rows have another key, and each column its values in other places."""
    ids = list(range(1, N + 1))
    columns = [mixed(rng, ids) if is_target else ids for _ in range(7)]
    first, second = (mixed(rng, half) if is_target else half for half in (ids[:20], ids[20:]))
    if is_target:
        ids = [n + 1000 if rng.random() < 0.1 else n for n in ids]
    keys = range(1, N + 1) if keys_are_kept else ids
    lonely = (2000, 2000) if is_target else (N + 1, N + 1)
    referred = [f"({n}, {u}, 'T{t}', {late}, {later}, {half}, '[{r * 10},{r * 10 + 10})', {i})" for n, u, t, late, later, half, r, i in zip(keys, *columns)]
    parents = [rng.choice(ids[:n]) if n else "NULL" for n in range(N)]
    return f"""INSERT INTO referred (id, u, t, late, later, half, r, n) OVERRIDING SYSTEM VALUE VALUES {', '.join(referred)};
        INSERT INTO referred (id, u) VALUES {lonely};
        INSERT INTO parted SELECT n, u, {int(is_target)} FROM unnest(ARRAY{list(range(1, N + 1))}, ARRAY{first + second}) AS x (n, u);
        INSERT INTO referring VALUES (1, {rng.randint(1, N)}), (2, {rng.randint(1, N)}), (3, {lonely[1]}), ({4 + is_target}, {lonely[1]});
        INSERT INTO tree VALUES {', '.join(f"({n}, {parent}, {place})" for n, parent, place in zip(ids, parents, columns[0]))}"""


def prepare(pair: Pair, rng: random.Random, keys_are_kept: bool = False) -> None:
    for cluster, is_target in ((pair.source, False), (pair.target, True)):
        cluster.execute(TABLES, pair.database)
        cluster.execute(fill(rng, is_target, keys_are_kept), pair.database)


def refill(pair: Pair, rng: random.Random, keys_are_kept: bool = False) -> None:
    pair.target.execute("TRUNCATE referred, parted, referring, tree", pair.database)
    pair.target.execute(fill(rng, True, keys_are_kept), pair.database)


@pytest.mark.parametrize("majors", [(15, 15), (18, 13)], ids=lambda majors: majors[1])
def test_unique_values_that_changed_places_are_repaired(world: World, majors: tuple[int, int], rng: random.Random):
    pair = world.pair()
    prepare(pair, rng)
    for _ in range(4):
        done = pair.pgtide.call("compare", "--kind", "values", "--repair", "--json", deadline_s=120)
        assert done.status == OK, done
        pair.assert_equal(objects=False, sequences=False)
        refill(pair, rng)


def test_values_of_columns_that_only_the_target_has_are_kept(world: World, rng: random.Random):
    pair = world.pair()
    prepare(pair, rng)
    pair.target.execute("ALTER TABLE referred ADD mine text DEFAULT 'new'; UPDATE referred SET mine = 'of ' || id; UPDATE referred SET u = 9999 WHERE id = 1", pair.database)
    done = pair.pgtide.call("compare", "--kind", "values", "--repair", "--json")
    assert done.status == DIFFERENT and json.loads(done.out)["repair"]["rows"] > 0, done
    rows = "SELECT id, u, t, late, later, half, r, n FROM referred ORDER BY id"
    assert pair.source.query(rows, pair.database) == pair.target.query(rows, pair.database)
    assert {mine for id, mine in pair.target.query("SELECT id, mine FROM referred", pair.database)} <= {f"of {n}" for n in range(1, N + 1)} | {"new"}
    assert pair.target_value("SELECT count(*) FROM referred WHERE mine = 'of ' || id") > N / 2


def test_where_foreign_keys_act_they_are_kept_and_nothing_of_others_is_deleted(world: World, rng: random.Random):
    pair = world.pair()
    prepare(pair, rng, keys_are_kept=True)
    pair.target.execute("CREATE ROLE modest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO modest", pair.database)
    modest = world.pgtide(pair.source.dsn("app"), pair.target.dsn("app", user="modest"))
    for _ in range(4):
        done = modest.call("compare", "--kind", "values", "--repair", "--json", deadline_s=120)
        assert done.status == OK, done
        pair.assert_equal(objects=False, sequences=False)
        refill(pair, rng, keys_are_kept=True)

    cascade = "ALTER TABLE referring DROP CONSTRAINT referring_u_fkey, ADD FOREIGN KEY (u) REFERENCES referred (u) ON DELETE CASCADE"
    done = modest.call("compare", "--kind", "values", "--repair")
    assert done.status == OK, done
    pair.target.execute(f"{cascade}; UPDATE referred SET half = NULL; UPDATE referred SET half = {N + 1} - id WHERE id <= {N}", pair.database)
    done = modest.call("compare", "--kind", "values", "--repair")
    assert done.status == FAILED and "referring_u_fkey" in done.err and "session_replication_role" in done.err, done
    assert pair.target_value("SELECT count(*) FROM referring") == 4
