"""Counted instructions: what callgrind writes is read right, and where it is missing that is said."""

from collections import Counter
from pathlib import Path

import pytest

from bench.instructions import Count, by_file_of, contestants, table
from bench.processes import StartFailure
from bench.routerd import sqlite

WRITTEN = """\
# callgrind format
positions: line
events: Ir
summary: 0

ob=(3) /usr/lib/libc.so.6
fl=(239) stat64.c
fn=(4924) stat
28 38
+1 152
cfn=(4926) fstatat
calls=38 154
* 323

fn=(4926)
154 300
-4 23

ob=(5) /opt/python/libpython3.so
fn=(1) _PyEval
10 1000
cob=(7) /opt/python/msgspec/_core.cpython-311-x86_64-linux-gnu.so
cfi=(9) _core.c
cfn=(2) decode
calls=4 60
+2 70
* 5
ob=(7)
fn=(2)
60 70
ob=(3)
fn=(4924)
30 2
totals: 1590
"""


def test_what_callgrind_wrote_is_counted_where_it_was_spent() -> None:
    found = by_file_of(WRITTEN.splitlines(keepends=True))
    assert found == {"libc.so.6": 515, "libpython3.so": 1005, "msgspec/_core": 70}
    assert sum(found.values()) == int(WRITTEN.rsplit(maxsplit=1)[-1])


def test_the_table_tells_the_ratio_and_where_the_candidates_instructions_are() -> None:
    scenario = "1 KB JSON"
    rows = table(
        [
            Count("bare", scenario, Counter({"python": 500_000})),
            Count("routerd", scenario, Counter({"python": 580_000, "sqlite": 20_000, "libm": 100})),
        ]
    ).splitlines()
    assert rows[0].split()[-3:] == ["bare", "routerd", "routerd/bare"]
    assert [row.split()[-2:] for row in rows[2:]] == [["600", "1.20"], ["500", "580"], ["0.00", "20.0"]]


def test_without_valgrind_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailure, match="valgrind and callgrind_control cannot be found: install valgrind"):
        contestants(sqlite, None)
