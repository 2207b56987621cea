"""`ROUTER_<PATH>` variables laid over the file's tree: any leaf of the schema, its words joined by `_`."""

from collections.abc import Mapping
from typing import NamedTuple

from router.config.document import Listing, Node, Scalar, Table
from router.config.problems import Mark, Problem, did_you_mean
from router.config.schema_paths import Shape, Step, path_text, resolve_words, shape_at, words_of

PREFIX = "ROUTER_"
_NOT_OVERRIDES = frozenset({"ROUTER_CONFIG_FILE", "ROUTER_FORCE_FAILOVER"})
_WELL_KNOWN: dict[str, tuple[Step, ...]] = {
    "ROUTER_DB_URL": ("database", "url"),
    "ROUTER_SECRET": ("server", "secret"),
    "ROUTER_MASTER_KEY": ("encryption", "master_key"),
}


class Overrides(NamedTuple):
    """`unknown`: variables that fit nothing, as warnings."""

    problems: list[Problem]
    unknown: list[str]


def apply_overrides(tree: Table, environ: Mapping[str, str], referenced: frozenset[str]) -> Overrides:
    """Change `tree` in place. `referenced` are the variables the file itself uses: they are not unknown."""
    result = Overrides([], [])
    port = environ.get("PORT", "")
    if port and not environ.get("ROUTER_SERVER_LISTEN"):
        _set(tree, ("server", "listen"), f"0.0.0.0:{port}", "PORT")
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NOT_OVERRIDES or not environ[name]:
            continue
        path = _WELL_KNOWN.get(name)
        paths = [path] if path else resolve_words(words_of(name[len(PREFIX) :]), tree)
        if len(paths) == 1:
            _override(tree, paths[0], environ[name], name, result)
        elif paths:
            found = f"a name that means {' or '.join(path_text(p) for p in paths)}"
            result.problems.append(Problem(_mark(name), "", found, "one meaning", "Set this value in the file."))
        elif name not in referenced:
            result.unknown.append(
                f"environment {name}: names no key of the configuration; ignored. {_nearest(name)}".rstrip()
            )
    return result


def _override(tree: Table, path: tuple[Step, ...], value: str, name: str, result: Overrides) -> None:
    locked = _locked_names(tree, path[:-1])
    if path[-1] in locked:
        found, expected = "a key the file marks as locked", "its value in the file only"
        result.problems.append(Problem(_mark(name), path_text(path), found, expected))
    elif not _set(tree, path, value, name):
        found = "no place for it: the file has another shape there"
        result.problems.append(Problem(_mark(name), path_text(path), found, "the shape of the schema"))


def _locked_names(tree: Table, path: tuple[Step, ...]) -> set[str]:
    node: Node | None = tree
    for step in path:
        node = _descend(node, step)
    locked = node.entries.get("locked") if isinstance(node, Table) else None
    items = locked.items if isinstance(locked, Listing) else [locked]
    return {item.text for item in items if isinstance(item, Scalar) and item.text is not None}


def _descend(node: Node | None, step: Step) -> Node | None:
    if isinstance(node, Table):
        return node.entries.get(str(step))
    if isinstance(node, Listing) and isinstance(step, int):
        return node.items[step] if step < len(node.items) else None
    return None


def _set(tree: Table, path: tuple[Step, ...], value: str, name: str) -> bool:
    """Put `value` at `path`, making the sections on the way. False where the file holds something of another shape."""
    node: Node = tree
    for step in path[:-1]:
        child = _descend(node, step)
        if child is None or (isinstance(child, Scalar) and child.text is None):
            child = Table(_mark(name))
            if not _attach(node, step, child, name):
                return False
        node = child
    shape = shape_at(path) or Shape()
    return _attach(node, path[-1], _leaf(shape, value, name), name)


def _leaf(shape: Shape, value: str, name: str) -> Node:
    mark, written = _mark(name), f"${{{name}}}"
    if not shape.is_list:
        return Scalar(value, mark, written)
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return Listing(mark, [Scalar(part, mark, written) for part in parts])


def _attach(node: Node, step: Step, child: Node, name: str) -> bool:
    if isinstance(node, Table):
        node.entries[str(step)] = child
        node.keys[str(step)] = _mark(name)
        return True
    if isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
        node.items[step] = child
        return True
    return False


def _mark(name: str) -> Mark:
    return Mark(f"environment {name}")


def _nearest(name: str) -> str:
    return did_you_mean(name, ("ROUTER_CONFIG_FILE", "ROUTER_FORCE_FAILOVER", *_WELL_KNOWN, "ROUTER_SERVER_LISTEN"))
