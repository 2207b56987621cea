"""Markdown as values: pages, links, anchors, fenced blocks, tables and code spans."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Table:
    """`heading` is the nearest one above; `rows` are cells by the name of their column."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without fenced blocks."""
    return _FENCE.sub("", text)


def fences(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return _FENCE.findall(text)


def links(text: str) -> list[str]:
    return _LINK.findall(prose(text))


def spans(text: str) -> list[str]:
    return [content for _, content in _SPAN.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """The names GitHub gives to headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(prose(text)):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def tables(text: str) -> Iterator[Table]:
    heading, block = "", list[str]()
    for line in [*prose(text).splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
            continue
        if len(block) > 1:
            columns = _cells(block[0])
            yield Table(heading, columns, tuple(dict(zip(columns, _cells(row), strict=True)) for row in block[2:]))
        block = []
        if match := _HEADING.fullmatch(line):
            heading = match[1]


def table(text: str, *, column: str) -> Table:
    """The one table that has this column."""
    (found,) = (each for each in tables(text) if column in each.columns)
    return found


def under(text: str, heading: str) -> Table:
    """The one table below this heading."""
    (found,) = (each for each in tables(text) if each.heading == heading)
    return found


def _cells(row: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in _CELL.split(row.strip().strip("|")))
