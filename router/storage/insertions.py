"""Rows that go into a table by the batch: what many of them share is bound once for all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

AT_ONCE = (32, 8, 1)
"""How many rows one INSERT may hold, the most first: few enough statements to be kept prepared."""

Row = tuple[Any, ...]
Grouped = Mapping[Row, Sequence[Row]]
"""Rows by what they share."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """An INSERT of rows of which many say the same in the columns `shared`. The others begin with what tells rows apart.

    Rows that exist stay as they are; where they must not (`may_exist` False) they are a value that is refused.
    """

    table: str
    shared: tuple[str, ...]
    own: tuple[str, ...]
    may_exist: bool = True

    def sql(self, rows: int = 1) -> str:
        """For so many rows at once: first what they share, then what each has of its own."""
        size, start = len(self.own), len(self.shared)
        shared = [f"${number}" for number in range(1, start + 1)]
        values = [
            ", ".join([*shared, *(f"${number}" for number in range(start + 1 + size * n, start + 1 + size * (n + 1)))])
            for n in range(rows)
        ]
        columns = ", ".join((*self.shared, *self.own))
        conflict = " ON CONFLICT DO NOTHING" if self.may_exist else ""
        return f"INSERT INTO {self.table} ({columns}) VALUES ({'), ('.join(values)}){conflict}"


_sql = cache(Insertion.sql)
_first = itemgetter(0)


def statements(insertion: Insertion, groups: Grouped) -> Iterator[tuple[str, list[Row]]]:
    """SQL, and the values of each of its executions; few statements, however many groups there are.

    Many rows at once cost a third of what they do one by one. Rows go in the order of their keys as far as that allows: two
    processes with the same rows would wait for each other.
    """
    bound: dict[int, list[tuple[Row, Row]]] = {size: [] for size in AT_ONCE}
    for shared, rows in groups.items():
        ordered, start = sorted(rows), 0
        for size in AT_ONCE:
            stop = len(ordered) - (len(ordered) - start) % size
            for at in range(start, stop, size):
                bound[size].append((ordered[at], tuple(chain(shared, *ordered[at : at + size]))))
            start = stop
    for size, executions in bound.items():
        if executions:
            executions.sort(key=_first)
            yield _sql(insertion, size), [values for _, values in executions]
