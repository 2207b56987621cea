"""Printing: rich on a terminal, aligned plain text when piped, one JSON document with `--json`.

Everything printed passes `printable`: names may come from callers, and a terminal obeys what it is sent.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from router.config.problems import Problem


@dataclass(frozen=True, slots=True)
class Column:
    """A column that holds numbers is `right` aligned; `keep` never breaks its cells."""

    title: str
    right: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; `footer` has a cell for each column, or none at all."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    footer: Sequence[str] = ()


class Screen:
    """One stream to a person. On a pipe lines are never cut, wrapped or coloured."""

    def __init__(self, stream: TextIO) -> None:
        self.is_terminal = stream.isatty()
        self._stream = stream
        self._console = Console(
            file=stream, force_terminal=self.is_terminal, markup=False, highlight=False, emoji=False, soft_wrap=False
        )

    def line(self, text: str = "", style: str = "") -> None:
        if self.is_terminal:
            self._console.print(Text(printable(text), style=style))
        else:
            self._stream.write(f"{printable(text)}\n")

    def heading(self, text: str) -> None:
        """A title over what follows, set off by an empty line."""
        self.line()
        self.line(text, "bold")

    def listed(self, lines: Iterable[str], style: str = "") -> None:
        """Indented lines; on a terminal the continuation of a long one keeps the indentation."""
        for text in lines:
            if self.is_terminal:
                self._console.print(Padding(Text(printable(text), style=style, overflow="fold"), (0, 0, 0, 2)))
            else:
                self._stream.write(f"  {printable(text)}\n")

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values in two columns."""
        if self.is_terminal:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(overflow="fold")
            for name, value in pairs:
                grid.add_row(printable(name), printable(value))
            self._console.print(grid)
            return
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self._stream.write(f"{printable(name).ljust(width)}  {printable(value)}".rstrip() + "\n")

    def grid(self, grid: Grid) -> None:
        self._console.print(_rich_table(grid)) if self.is_terminal else self._stream.write(_plain_table(grid))


def _rich_table(grid: Grid) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, show_footer=bool(grid.footer), header_style="bold", footer_style="bold")
    for index, column in enumerate(grid.columns):
        table.add_column(
            column.title,
            footer=printable(grid.footer[index]) if grid.footer else "",
            justify="right" if column.right else "left",
            no_wrap=column.right or column.keep,
            overflow="fold",
        )
    for row in grid.rows:
        table.add_row(*(printable(cell) for cell in row))
    return table


def _plain_table(grid: Grid) -> str:
    """Columns two spaces apart, as wide as their widest cell."""
    rows = [[column.title for column in grid.columns], *([printable(cell) for cell in row] for row in grid.rows)]
    if grid.footer:
        rows.append([printable(cell) for cell in grid.footer])
    widths = [max(len(row[i]) for row in rows) for i in range(len(grid.columns))]
    aligned = [
        "  ".join(cell.rjust(w) if c.right else cell.ljust(w) for cell, w, c in zip(row, widths, grid.columns, strict=True))
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in aligned)


def screen() -> Screen:
    """Where results go."""
    return Screen(sys.stdout)


def notices() -> Screen:
    """Where errors, hints and progress go, so that a pipe gets results alone."""
    return Screen(sys.stderr)


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    sys.stdout.write(f"{text}\n")


def show_problems(out: Screen, problems: Sequence[Problem]) -> None:
    """One line each on a pipe, a small block each on a terminal."""
    if not out.is_terminal:
        for problem in problems:
            out.line(problem.render())
        return
    out.line("1 problem" if len(problems) == 1 else f"{len(problems)} problems", "bold red")
    for problem in problems:
        out.line()
        out.line(f"{problem.mark}  {problem.key}".rstrip(), "bold")
        lines = [f"found     {problem.found}", f"expected  {problem.expected}"]
        out.listed([*lines, problem.hint] if problem.hint else lines)


def printable(text: str) -> str:
    """`text` on one line without control characters: nothing of it can move a cursor or set a colour."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
