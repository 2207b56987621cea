"""YAML text to a tree whose every value knows its place. Scalars keep their text: the schema, not YAML, decides types.

Built from parser events, so that size, depth and node count are bounded while reading. Refused: aliases, tags,
duplicate keys, several documents; all such mistakes of a file are reported together.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from router.config.problems import Mark, Problem, shown

MAX_BYTES = 2**20
MAX_NODES = 50_000
MAX_DEPTH = 32
_NULLS = ("", "~", "null", "Null", "NULL")
# libyaml's parser is some ten times faster; the pure one gives the same events where a platform lacks it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """`text` None is YAML's null. `written` is the text before `${...}` was expanded; equal to `text` if nothing was."""

    text: str | None
    mark: Mark
    written: str


@dataclass(slots=True)
class Listing:
    mark: Mark
    items: "list[Node]" = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """`keys` holds the place of each key of `entries`."""

    mark: Mark
    entries: "dict[str, Node]" = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Listing | Table


@dataclass(frozen=True, slots=True)
class Document:
    """One file as read. `is_whole` False: reading stopped early, so that what is missing from `root` means nothing."""

    root: Table
    problems: tuple[Problem, ...] = ()
    is_whole: bool = True


class _Stop(Exception):
    """Reading on makes no sense; the problem is already noted."""


class _Builder:
    """Consumes events, holding the chain of open collections; a table's pending key waits in `_pending`."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._file = file
        self._open: list[Listing | Table] = []
        self._pending: list[tuple[str, Mark] | None] = []
        self._nodes = 0
        self._documents = 0

    def feed(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._check_node(event)
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_node(event)
            self._begin(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._note(event, "a YAML alias (*name)", "the value itself", "Quote the value if it starts with *.")
            self._place(Scalar(None, self._mark(event), ""))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._note(event, "a second document (---)", "one document in a file")
                raise _Stop

    def _check_node(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._note(event, f"more than {MAX_NODES} values", "a smaller file")
            raise _Stop
        if len(self._open) >= MAX_DEPTH:
            self._note(event, f"more than {MAX_DEPTH} levels of nesting", "fewer levels")
            raise _Stop
        if event.tag is not None and event.tag != "!":
            self._note(event, "a YAML tag (!name)", "a plain value", "Quote the value if it starts with !.")
        if event.anchor is not None:
            self._note(event, "a YAML anchor (&name)", "a plain value", "Quote the value if it starts with &.")

    def _scalar(self, event: Any) -> None:
        mark = self._mark(event)
        if self._open and isinstance(self._open[-1], Table) and self._pending[-1] is None:
            self._pending[-1] = (event.value, mark)
            return
        is_null = event.implicit[0] and event.style in (None, "") and event.value in _NULLS
        self._place(Scalar(None if is_null else event.value, mark, event.value))

    def _begin(self, event: Any) -> None:
        node: Listing | Table = (Table if isinstance(event, yaml.MappingStartEvent) else Listing)(self._mark(event))
        if self._open and isinstance(self._open[-1], Table) and self._pending[-1] is None:
            self._note(event, "a collection as a key", "a plain key")
            raise _Stop
        self._place(node)
        self._open.append(node)
        self._pending.append(None)

    def _end(self) -> None:
        self._open.pop()
        self._pending.pop()

    def _place(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Listing):
            parent.items.append(node)
            return
        pending = self._pending[-1]
        if pending is None:
            raise _Stop  # an alias as a key; noted by the caller
        self._pending[-1] = None
        name, mark = pending
        if name in parent.entries:
            first = parent.keys[name]
            self.problems.append(
                Problem(mark, name, f"the key {shown(name)} a second time", f"one; the first is in line {first.line}")
            )
            return
        parent.entries[name] = node
        parent.keys[name] = mark

    def _mark(self, event: Any) -> Mark:
        return Mark(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _note(self, event: Any, found: str, expected: str, hint: str = "") -> None:
        self.problems.append(Problem(self._mark(event), "", found, expected, hint))


def read_document(content: bytes, file: str) -> Document:
    """The tree of one file with what is wrong with it. `file` is its name in messages."""
    empty = Table(Mark(file, 1, 1))
    if len(content) > MAX_BYTES:
        return _unreadable(empty, Problem(Mark(file), "", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        found = f"the byte 0x{content[error.start]:02x}"
        return _unreadable(empty, Problem(Mark(file, line, column), "", found, "UTF-8 text"))
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except _Stop:
        return _unreadable(empty, *builder.problems)
    except yaml.YAMLError as error:
        return _unreadable(empty, *builder.problems, _syntax_problem(error, text, file))
    if isinstance(builder.root, Table):
        return Document(builder.root, tuple(builder.problems))
    return _unreadable(empty, *builder.problems, _shape_problem(builder.root, empty.mark))


def _unreadable(root: Table, *problems: Problem) -> Document:
    return Document(root, problems, is_whole=False)


def _shape_problem(root: Listing | Scalar | None, start: Mark) -> Problem:
    sections = "sections such as server:, providers: and model_catalog:"
    if root is None or (isinstance(root, Scalar) and root.text is None):
        return Problem(start, "", "an empty file", sections)
    found = "a list" if isinstance(root, Listing) else "a single value"
    return Problem(root.mark, "", found, f"a mapping: {sections}")


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """libyaml's words are kept, but for the tab, whose message puzzles; it never quotes more than one character."""
    place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if place is None:
        offset = min(getattr(error, "position", 0), len(text))
        line, column = text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1
        return Problem(Mark(file, line, column), "", "a control character", "printable text")
    line, column = place.line + 1, place.column + 1
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    indent = written[: len(written) - len(written.lstrip())]
    if "\t" in indent:
        return Problem(Mark(file, line, indent.index("\t") + 1), "", "a tab", "spaces: YAML cannot be indented with tabs")
    why = getattr(error, "problem", None) or "invalid YAML"
    context = getattr(error, "context", None)
    return Problem(Mark(file, line, column), "", f"a YAML mistake ({f'{context}: ' if context else ''}{why})", "valid YAML")


def merge_into(base: Table, other: Table, problems: list[Problem], key: str = "") -> None:
    """Lay the tree of an included file over `base`: maps merge, lists are appended, a value set twice is a problem."""
    for name, node in other.entries.items():
        path = f"{key}.{name}" if key else name
        mine = base.entries.get(name)
        if mine is None or (isinstance(mine, Scalar) and mine.text is None):
            base.entries[name], base.keys[name] = node, other.keys[name]
        elif isinstance(mine, Table) and isinstance(node, Table):
            merge_into(mine, node, problems, path)
        elif isinstance(mine, Listing) and isinstance(node, Listing):
            mine.items.extend(node.items)
        elif not (isinstance(node, Scalar) and node.text is None):
            found = f"the key {shown(name)} a second time"
            problems.append(Problem(other.keys[name], path, found, f"one; the first is at {base.keys[name]}"))


def entries_of(node: Node | None) -> dict[str, Node]:
    """The entries of a mapping, none of anything else: checks must survive a file of the wrong shape."""
    return node.entries if isinstance(node, Table) else {}


def items_of(node: Node | None) -> list[Node]:
    return node.items if isinstance(node, Listing) else []


class Word(NamedTuple):
    """A name in a list of names; `shown` is how an error may quote it."""

    text: str
    mark: Mark
    shown: str


def words_at(node: Node | None) -> list[Word]:
    """A list of names, or one scalar with commas."""
    if isinstance(node, Scalar):
        parts = [part.strip() for part in (node.text or "").split(",")]
        return [Word(part, node.mark, shown(part) if node.text == node.written else quoted(node)) for part in parts if part]
    return [Word(item.text, item.mark, quoted(item)) for item in items_of(node) if isinstance(item, Scalar) and item.text]


def quoted(node: Node | None) -> str:
    """A scalar for an error message: as it was written, never what a variable or a file put into it."""
    if not isinstance(node, Scalar):
        return "nothing" if node is None else "a list" if isinstance(node, Listing) else "a mapping"
    if node.text == node.written:
        return shown(node.written)
    return f"{shown(node.written)} (what it stands for is not shown)"


def text_of(node: Node | None) -> str:
    """The text of a scalar, "" of null and of anything else."""
    return node.text or "" if isinstance(node, Scalar) else ""


def node_at(node: Node | None, *names: str) -> Node | None:
    for name in names:
        node = entries_of(node).get(name)
    return node
