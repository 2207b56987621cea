"""The tree against the schema: a RouterConfig, or every mistake in the words of whoever wrote the file."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from router.config.document import Listing, Node, Scalar, Table, quoted
from router.config.problems import Mark, Problem, did_you_mean, one_of, shown
from router.config.schema import RouterConfig
from router.config.schema_paths import ROOT, Shape, Step, children, path_text, plain

_QUOTED = re.compile(r"'([^']*)'")
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a single value",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


class Place(NamedTuple):
    """Where a path leads in the tree: as far as it exists. `node` None: the last step does not exist."""

    steps: tuple[Step, ...]
    mark: Mark
    node: Node | None
    shape: Shape | None
    parent: Shape | None
    key_mark: Mark


def validate(tree: Table) -> tuple[RouterConfig | None, list[Problem]]:
    """Everything the schema itself can tell; references between sections are checked elsewhere."""
    try:
        return RouterConfig.model_validate(plain(tree)), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_problem(tree, detail) for detail in details]


def find(tree: Table, steps: Sequence[Step]) -> Place:
    """Follow `steps` through tree and schema. Steps that only validation knows (a list read as `default`) are skipped."""
    node: Node | None = tree
    shape: Shape | None = ROOT
    parent: Shape | None = None
    taken: list[Step] = []
    mark = key_mark = tree.mark
    for step in steps:
        if isinstance(node, Table):
            child, child_mark = node.entries.get(str(step)), node.keys.get(str(step))
        elif isinstance(node, Listing) and isinstance(step, int):
            child = node.items[step] if step < len(node.items) else None
            child_mark = child.mark if child else None
        elif isinstance(node, Scalar | Listing) and shape is not None and shape.child(step) is not None:
            shape = shape.child(step)
            continue
        else:
            break
        taken.append(step)
        parent, shape = shape, shape.child(step) if shape else None
        node = child
        if child is None:
            break
        mark, key_mark = child.mark, child_mark or child.mark
    return Place(tuple(taken), mark, node, shape, parent, key_mark)


def _problem(tree: Table, detail: ErrorDetails) -> Problem:
    place = find(tree, [s for s in detail["loc"] if s != "[key]"])
    key = path_text(place.steps)
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        names = [name for name in _names(place.parent) if name != "locked"]
        wrong = str(place.steps[-1])
        return Problem(place.key_mark, key, f"the unknown key {shown(wrong)}", one_of(names), did_you_mean(wrong, names))
    if detail["type"] == "missing":
        return Problem(_parent_mark(tree, place), key, "nothing", f"the key {place.steps[-1]}")
    expected, hint = _expectation(detail["type"], context, detail["msg"], place.node)
    return Problem(place.mark, key, found_text(place.node, place.shape), expected, hint)


def _names(shape: Shape | None) -> list[str]:
    return list(children(shape.section)) if shape is not None and shape.section is not None else []


def _parent_mark(tree: Table, place: Place) -> Mark:
    """A missing key is reported where its mapping is named, which is where the eye looks."""
    parent = find(tree, place.steps[:-1])
    return parent.key_mark if parent.steps and isinstance(parent.steps[-1], str) else parent.mark


def found_text(node: Node | None, shape: Shape | None) -> str:
    """What stands in the file, for a message: never a secret, never what a variable holds."""
    if node is None or (isinstance(node, Scalar) and node.text is None):
        return "nothing"
    if isinstance(node, Table):
        return "a mapping" if node.entries else "an empty mapping"
    if isinstance(node, Listing):
        return "a list" if node.items else "an empty list"
    is_hidden = shape is not None and (shape.is_secret or (shape.is_url and "@" in node.written))
    return "***" if is_hidden and node.text == node.written else quoted(node)


def _expectation(kind: str, context: dict[str, Any], message: str, node: Node | None) -> tuple[str, str]:
    if kind == "expected":
        return str(context["expected"]), str(context["hint"])
    if kind in ("literal_error", "enum"):
        names = _QUOTED.findall(str(context["expected"]))
        written = node.written if isinstance(node, Scalar) and node.text == node.written else ""
        return one_of(names), did_you_mean(written, names) if written else ""
    bounds = {"greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}", "greater_than": "more than {gt}"}
    if kind in bounds:
        return "a number, " + bounds[kind].format(**context), ""
    if kind in ("string_too_short", "string_too_long"):
        limit = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
        return f"{limit} characters", ""
    if kind == "too_short":
        return f"at least {context['min_length']} entry", ""
    return _EXPECTED.get(kind, message), ""
