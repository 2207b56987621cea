"""The schema as a map: which keys stand where, what may be shown, and what a path of words means."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from router.config.document import Listing, Node, Scalar, Table
from router.config.fields import SecretMark, Section, UrlMark, key_names
from router.config.schema import RouterConfig

Step = str | int


@dataclass(frozen=True, slots=True)
class Shape:
    """What the schema allows at one place: a section, a list or mapping of `item`, or a single value (all None)."""

    section: type[Section] | None = None
    item: "Shape | None" = None
    is_list: bool = False
    is_secret: bool = False
    is_url: bool = False

    @property
    def is_leaf(self) -> bool:
        """Whether one line of text can be the value: a scalar, or a list of scalars written with commas."""
        return self.section is None and (self.item is None or (self.is_list and self.item.is_leaf))

    def child(self, step: Step) -> "Shape | None":
        if self.section is not None:
            return children(self.section).get(str(step))
        if self.item is not None and self.is_list == isinstance(step, int):
            return self.item
        return None


@cache
def children(section: type[Section]) -> dict[str, Shape]:
    """The shape of each key of a section, under the names the file uses."""
    fields = section.model_fields
    return {key: _shape(fields[name].annotation, fields[name].metadata) for key, name in key_names(section).items()}


def _shape(annotation: Any, metadata: Sequence[Any] = ()) -> Shape:
    marks = list(metadata)
    while get_origin(annotation) in (Annotated, Union, UnionType):
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            marks += [m for extra in more for m in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        else:
            annotation = next(a for a in get_args(annotation) if a is not type(None))
    is_secret = any(isinstance(m, SecretMark) for m in marks)
    below = (SecretMark(),) if is_secret else ()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Shape(section=annotation if issubclass(annotation, Section) else None)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return Shape(item=_shape(arguments[0], below), is_list=True, is_secret=is_secret)
    if origin is dict:
        return Shape(item=_shape(arguments[1], below), is_secret=is_secret)
    return Shape(is_secret=is_secret, is_url=any(isinstance(m, UrlMark) for m in marks))


ROOT = Shape(section=RouterConfig)


def shape_at(steps: Sequence[Step]) -> Shape | None:
    shape: Shape | None = ROOT
    for step in steps:
        shape = shape.child(step) if shape else None
    return shape


def path_text(steps: Sequence[Step]) -> str:
    """`model_catalog[0].targets[1].provider`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def words_of(name: str) -> tuple[str, ...]:
    """A name as an environment variable spells it: lower case, split at everything that is no letter or digit."""
    return tuple(word for word in re.split(r"[^a-z0-9]+", name.lower()) if word)


def resolve_words(words: tuple[str, ...], tree: Table) -> list[tuple[Step, ...]]:
    """The leaf paths that `words` can mean, names of mappings and indices of lists taken from `tree`."""
    return list(_resolve(words, ROOT, tree, ()))


def _resolve(words: tuple[str, ...], shape: Shape, node: Node | None, path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    if not words:
        if shape.is_leaf:
            yield path
        return
    for step, taken in _next_steps(words, shape, node):
        child = shape.child(step)
        if child is not None:
            yield from _resolve(words[taken:], child, _child_node(node, step), (*path, step))


def _next_steps(words: tuple[str, ...], shape: Shape, node: Node | None) -> Iterator[tuple[Step, int]]:
    """Steps the next words can spell, with how many words each takes."""
    if shape.is_list:
        if words[0].isdigit() and isinstance(node, Listing) and int(words[0]) < len(node.items):
            yield int(words[0]), 1
        return
    present = tuple(node.entries) if isinstance(node, Table) else ()
    names = tuple(children(shape.section)) if shape.section is not None else present
    for name in names:
        spelled = words_of(name)
        if spelled and words[: len(spelled)] == spelled:
            yield name, len(spelled)
    if shape.section is None and shape.item is not None and shape.item.is_leaf and "_".join(words) not in present:
        yield "_".join(words), len(words)


def _child_node(node: Node | None, step: Step) -> Node | None:
    if isinstance(node, Table):
        return node.entries.get(str(step))
    if isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def plain(node: Node) -> Any:
    """The tree as dicts, lists and texts: what the schema validates."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {name: plain(child) for name, child in node.entries.items()}
