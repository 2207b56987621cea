"""Rows by the batch: each goes in once, however many share what."""

import sqlite3

import pytest

from router.storage.database import numbered_for_sqlite
from router.storage.insertions import AT_ONCE, Insertion, statements

HITS = Insertion("hits", ("place", "kind"), ("id", "part", "cost"))


def rows(count: int, first: int = 0) -> list[tuple[int, int, int]]:
    return [(first + number, 0, number * 7) for number in range(count)]


@pytest.fixture
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE hits (id, part, place, kind, cost, PRIMARY KEY (id, part))")
    return connection


def put(
    database: sqlite3.Connection, insertion: Insertion, groups: dict[tuple[str, str], list[tuple[int, int, int]]]
) -> None:
    for sql, values in statements(insertion, groups):
        database.executemany(numbered_for_sqlite(sql), values)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31, 32, 33, 40, 41, 75, 200])
def test_every_row_goes_in_whatever_their_number(database: sqlite3.Connection, count: int) -> None:
    put(database, HITS, {("north", "a"): rows(count), ("south", "b"): rows(3, 1000)})

    north = database.execute("SELECT id, part, cost FROM hits WHERE place = 'north' AND kind = 'a' ORDER BY id").fetchall()
    assert north == rows(count)
    assert database.execute("SELECT count(*) FROM hits WHERE place = 'south' AND kind = 'b'").fetchone() == (3,)


def test_few_different_statements_are_made_whatever_the_number_of_rows() -> None:
    made = {sql for count in range(100) for sql, _ in statements(HITS, {("north", "a"): rows(count)})}

    assert len(made) == len(AT_ONCE)


def test_a_row_that_exists_stays_as_it_is(database: sqlite3.Connection) -> None:
    put(database, HITS, {("north", "a"): rows(2)})
    put(database, HITS, {("south", "b"): rows(9)})

    assert database.execute("SELECT place, count(*) FROM hits GROUP BY place ORDER BY place").fetchall() == [
        ("north", 2),
        ("south", 7),
    ]


def test_where_none_may_exist_one_that_does_is_refused(database: sqlite3.Connection) -> None:
    put(database, HITS, {("north", "a"): rows(2)})

    with pytest.raises(sqlite3.IntegrityError):
        put(database, Insertion("hits", ("place", "kind"), ("id", "part", "cost"), may_exist=False), {("s", "b"): rows(1)})


def test_many_groups_of_few_rows_are_few_statements(database: sqlite3.Connection) -> None:
    """Each is a visit to the database: there must not be one for every key that has sent a request."""
    groups = {(f"place {number}", "a"): rows(1 + number % 12, number * 100) for number in range(300)}

    assert len(list(statements(HITS, groups))) <= len(AT_ONCE)
    put(database, HITS, groups)
    assert database.execute("SELECT count(*) FROM hits").fetchone() == (sum(map(len, groups.values())),)


def test_rows_of_one_size_go_in_the_order_of_their_keys() -> None:
    groups = {("north", "a"): [(9, 0, 1), (2, 0, 1)], ("south", "a"): [(5, 0, 1), (1, 0, 1)]}

    [(_, values)] = statements(HITS, groups)
    assert [row[2] for row in values] == [1, 2, 5, 9]
