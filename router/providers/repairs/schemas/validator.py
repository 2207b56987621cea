"""Whether a JSON value is what a schema asks for (draft 2020-12), in bounded time.

Both come from outside, so the work is counted: a schema whose references multiply is an error and not a standstill. A
keyword that would decide and is not known is refused when the schema is read.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from router.providers.repairs.schemas.patterns import UnknownPattern, compiled

MOST_WORK = 400_000
"""Steps, of some tenths of a microsecond to a microsecond each."""

_MOST_DEPTH = 60
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: _is_number(v),  # noqa: PLW0108  it stands below
    "integer": lambda v: _is_number(v) and v == int(v),
}
_SAY_NOTHING = frozenset(
    "$schema $id $comment $anchor $defs definitions title description default examples deprecated readOnly writeOnly format "
    "contentEncoding contentMediaType contentSchema propertyOrdering discriminator xml externalDocs example nullable".split()
)


class UnknownSchema(ValueError):
    """The schema asks for what cannot be checked here; the text says what."""


class Mismatch(ValueError):
    """The value is not what the schema asks for; the text says where and why."""


class Schema:
    """A schema that was read. Raises UnknownSchema where it cannot be checked."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._work = 0
        _Reader(root).read()

    def check(self, value: Any) -> None:
        """Raises Mismatch."""
        self._work = 0
        try:
            wrong = self._wrong(self._root, value, "", 0)
        except RecursionError:
            wrong = "the value or the schema is nested too deep to be checked"
        if wrong:
            raise Mismatch(wrong)

    def _spend(self, steps: int) -> None:
        self._work += steps
        if self._work > MOST_WORK:
            raise Mismatch("the value and the schema are too large to be checked")

    def _wrong(self, schema: Any, value: Any, path: str, depth: int) -> str:
        """What is wrong first, "" if nothing is."""
        if schema is True:
            return ""
        if schema is False:
            return f"{path or 'the value'} must not be there"
        if depth > _MOST_DEPTH:
            raise Mismatch("the value or the schema is nested too deep to be checked")
        self._spend(1 + len(schema))
        wrong = self._wrong_kind(schema, value, path) or self._wrong_number(schema, value, path)
        wrong = wrong or self._wrong_text(schema, value, path) or self._combined(schema, value, path, depth + 1)
        if not wrong and isinstance(value, dict):
            wrong = self._wrong_object(schema, value, path, depth + 1)
        elif not wrong and isinstance(value, list):
            wrong = self._wrong_list(schema, value, path, depth + 1)
        return wrong

    def _fits(self, schema: Any, value: Any, depth: int) -> bool:
        return not self._wrong(schema, value, "", depth)

    # -- one value ------------------------------------------------------------------------------------------------

    def _wrong_kind(self, schema: Any, value: Any, path: str) -> str:
        kinds = schema.get("type")
        if kinds is not None:
            named = [kinds] if isinstance(kinds, str) else kinds
            if not any(_TYPES[kind](value) for kind in named):
                return f"{path or 'the value'} must be of the type {' or '.join(named)}"
        if "const" in schema and not self._same(schema["const"], value):
            return f"{path or 'the value'} is not the one value that is allowed"
        if "enum" in schema and not any(self._same(one, value) for one in schema["enum"]):
            return f"{path or 'the value'} is none of the values that are allowed"
        return ""

    def _wrong_number(self, schema: Any, value: Any, path: str) -> str:
        if not _is_number(value):
            return ""
        for name, fails in (
            ("minimum", lambda bound: value < bound),
            ("maximum", lambda bound: value > bound),
            ("exclusiveMinimum", lambda bound: value <= bound),
            ("exclusiveMaximum", lambda bound: value >= bound),
            ("multipleOf", lambda bound: _exact(value) % _exact(bound) != 0),
        ):
            if name in schema and fails(schema[name]):
                return f"{path or 'the value'} breaks {name} {schema[name]}"
        return ""

    def _wrong_text(self, schema: Any, value: Any, path: str) -> str:
        if not isinstance(value, str):
            return ""
        if len(value) < schema.get("minLength", 0):
            return f"{path or 'the value'} is shorter than {schema['minLength']}"
        if len(value) > schema.get("maxLength", len(value)):
            return f"{path or 'the value'} is longer than {schema['maxLength']}"
        if "pattern" in schema and not compiled(schema["pattern"]).found_in(value, self._spend):
            return f"{path or 'the value'} does not match its pattern"
        return ""

    def _same(self, one: Any, other: Any) -> bool:
        """JSON's equality: 1 is 1.0, and neither is true."""
        self._spend(1)
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self._same(item, other[key]) for key, item in one.items())
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self._same, one, other))
        return bool(one == other)

    # -- what is in it --------------------------------------------------------------------------------------------

    def _wrong_object(self, schema: Any, value: dict[str, Any], path: str, depth: int) -> str:
        self._spend(len(value))
        missing = next((name for name in schema.get("required", ()) if name not in value), None)
        if missing is not None:
            return f"{path or 'the value'} lacks {missing!r}"
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
            return f"{path or 'the value'} has too few or too many members"
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            fitting = [s for text, s in patterns.items() if compiled(text).found_in(name, self._spend)]
            if name in known:
                fitting.append(known[name])
            elif not fitting and "additionalProperties" in schema:
                fitting.append(schema["additionalProperties"])
            if "propertyNames" in schema and not self._fits(schema["propertyNames"], name, depth):
                return f"the name {inner!r} is not allowed"
            for one in fitting:
                if wrong := self._wrong(one, item, inner, depth):
                    return wrong
        return self._wrong_dependents(schema, value, path, depth)

    def _wrong_dependents(self, schema: Any, value: dict[str, Any], path: str, depth: int) -> str:
        for name, needed in schema.get("dependentRequired", {}).items():
            if name in value and not all(other in value for other in needed):
                return f"{path or 'the value'} lacks what {name!r} needs"
        for name, inner in schema.get("dependentSchemas", {}).items():
            if name in value and (wrong := self._wrong(inner, value, path, depth)):
                return wrong
        return ""

    def _wrong_list(self, schema: Any, value: list[Any], path: str, depth: int) -> str:
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{path or 'the value'} has too few or too many items"
        prefix = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        for index, item in enumerate(value):
            inner = prefix[index] if index < len(prefix) else rest
            if wrong := self._wrong(inner, item, f"{path}[{index}]", depth):
                return wrong
        if "contains" in schema:
            found = sum(self._fits(schema["contains"], item, depth) for item in value)
            if not schema.get("minContains", 1) <= found <= schema.get("maxContains", found):
                return f"{path or 'the value'} has too few or too many of the items it must contain"
        if schema.get("uniqueItems") and any(self._same(a, b) for i, a in enumerate(value) for b in value[:i]):
            return f"{path or 'the value'} has an item twice"
        return ""

    # -- schemas of schemas ---------------------------------------------------------------------------------------

    def _combined(self, schema: Any, value: Any, path: str, depth: int) -> str:
        if "$ref" in schema and (wrong := self._wrong(resolved(self._root, schema["$ref"]), value, path, depth)):
            return wrong
        for inner in schema.get("allOf", ()):
            if wrong := self._wrong(inner, value, path, depth):
                return wrong
        if "anyOf" in schema and not any(self._fits(inner, value, depth) for inner in schema["anyOf"]):
            return f"{path or 'the value'} fits none of anyOf"
        if "oneOf" in schema and sum(self._fits(inner, value, depth) for inner in schema["oneOf"]) != 1:
            return f"{path or 'the value'} does not fit exactly one of oneOf"
        if "not" in schema and self._fits(schema["not"], value, depth):
            return f"{path or 'the value'} fits what it must not"
        if "if" in schema:
            branch = "then" if self._fits(schema["if"], value, depth) else "else"
            return self._wrong(schema.get(branch, True), value, path, depth)
        return ""


def resolved(root: Any, pointer: str) -> Any:
    """What a pointer within the document names. Raises UnknownSchema for any other, and where nothing is there."""
    node = root
    if pointer != "#" and not pointer.startswith("#/"):
        raise UnknownSchema(f"$ref {pointer[:80]!r} is not within the schema")
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            raise UnknownSchema(f"$ref {pointer[:80]!r} leads nowhere")
    return node


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exact(number: float) -> Fraction:
    """As it is written: 0.3 is three tenths."""
    return Fraction(str(number))


class _Reader:
    """Looks at every schema of a document once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = 20_000

    def read(self) -> None:
        try:
            self._schema(self._root, "$")
        except RecursionError:
            raise UnknownSchema("it is nested too deep") from None

    def _schema(self, schema: Any, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise UnknownSchema("it is too large")
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise UnknownSchema(f"{path} is no schema")
        for name, value in schema.items():
            where = f"{path}.{name}"
            if name in _SHAPES:
                if not _SHAPES[name](value):
                    raise UnknownSchema(f"{where} is not what it must be")
                self._inner(name, value, where)
            elif name not in _SAY_NOTHING and not name.startswith("x-"):
                raise UnknownSchema(f"the keyword {where[:120]} cannot be checked")
        for name in ("$defs", "definitions"):
            if isinstance(schema.get(name), dict):
                self._inner(name, schema[name], f"{path}.{name}")

    def _inner(self, name: str, value: Any, path: str) -> None:
        if name == "$ref":
            target = resolved(self._root, value)
            if not isinstance(target, dict | bool):
                raise UnknownSchema(f"{path} is no schema")
        elif name == "pattern":
            _pattern(value, path)
        elif name in _ONE:
            self._schema(value, path)
        elif name in _MANY:
            for index, inner in enumerate(value):
                self._schema(inner, f"{path}[{index}]")
        elif name in _NAMED:
            for key, inner in value.items():
                if name == "patternProperties":
                    _pattern(key, path)
                self._schema(inner, f"{path}.{key}")


def _pattern(text: str, path: str) -> None:
    try:
        compiled(text)
    except UnknownPattern as error:
        raise UnknownSchema(f"the pattern of {path} cannot be checked: {error}") from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_types(value: Any) -> bool:
    return (value in _TYPES) if isinstance(value, str) else _are_names(value) and all(kind in _TYPES for kind in value)


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


_ONE = frozenset("items contains additionalProperties propertyNames not if then else".split())
_MANY = frozenset("prefixItems allOf anyOf oneOf".split())
_NAMED = frozenset("properties patternProperties dependentSchemas $defs definitions".split())
_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        "minLength maxLength minItems maxItems minProperties maxProperties minContains maxContains".split(), _is_count
    ),
    **dict.fromkeys("minimum maximum exclusiveMinimum exclusiveMaximum".split(), _is_number),
    **dict.fromkeys(_ONE, _is_schema),
    **dict.fromkeys(_MANY, lambda v: _is_list(v) and bool(v)),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), lambda v: isinstance(v, dict)),
    "multipleOf": lambda v: _is_number(v) and v > 0,
    "type": _are_types,
    "enum": _is_list,
    "const": lambda v: True,
    "required": _are_names,
    "uniqueItems": lambda v: isinstance(v, bool),
    "dependentRequired": lambda v: isinstance(v, dict) and all(map(_are_names, v.values())),
    "pattern": lambda v: isinstance(v, str),
    "$ref": lambda v: isinstance(v, str),
}
