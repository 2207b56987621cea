"""A value that fits a JSON schema: what structured answers and the arguments of tool calls are made of."""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from router.providers.simulated.pattern import matching
from router.providers.simulated.text import Draws

_EASY_DEPTH = 4  # below it optional members are left out and the plainest variant is taken
_MAX_DEPTH = 40
_FORMATS = {
    "date": "2026-03-14",
    "time": "09:26:53Z",
    "date-time": "2026-03-14T09:26:53Z",
    "duration": "PT15M",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "www.example.com",
    "idn-hostname": "www.example.com",
    "ipv4": "192.0.2.10",
    "ipv6": "2001:db8::10",
    "uri": "https://example.com/page",
    "uri-reference": "/page",
    "iri": "https://example.com/page",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "json-pointer": "/a/b",
    "regex": "^[a-z]+$",
}
_NAMED = {
    "city": ("Paris", "Lisbon", "Osaka"),
    "location": ("Paris, France", "Lisbon, Portugal", "Osaka, Japan"),
    "country": ("France", "Portugal", "Japan"),
    "name": ("Ada Lovelace", "Alan Turing", "Grace Hopper"),
    "email": ("ada@example.com", "alan@example.com"),
    "url": ("https://example.com/page",),
    "date": ("2026-03-14", "2026-07-01"),
    "currency": ("EUR", "USD", "JPY"),
    "language": ("en", "fr", "ja"),
}
_NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_TYPE_HINTS = (
    ("object", ("properties", "required", "additionalProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems")),
    ("number", _NUMERIC),
    ("string", ("minLength", "maxLength", "pattern", "format")),
)


class SchemaInstance:
    """Makes values for one schema document. Knows types, enum, const, $ref, anyOf, oneOf, allOf and the usual bounds.

    Not honoured: `not`, `if`, `dependent*`, `contains`, `patternProperties`. `words` colour the strings. A schema that
    nothing fits, or that requires itself without end, gives null at some depth rather than an error.
    """

    def __init__(self, root: object, draws: Draws, words: Sequence[str] = ()) -> None:
        self._root = root
        self._draws = draws
        self._words = tuple(words) or ("example",)

    def make(self) -> Any:
        return self._value(self._root, "", 0)

    def _value(self, schema: object, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return None if depth > _MAX_DEPTH else self._text({}, name)
        flat = self._flatten(schema, depth)
        if "const" in flat:
            return flat["const"]
        if isinstance(flat.get("enum"), list) and flat["enum"]:
            return self._draws.pick(flat["enum"])
        kind = _type_of(flat, depth)
        if kind == "object":
            return self._object(flat, depth)
        if kind == "array":
            return self._array(flat, name, depth)
        return self._scalar(kind, flat, name)

    def _scalar(self, kind: str, schema: Mapping[str, Any], name: str) -> Any:
        if kind == "integer":
            return self._integer(schema)
        if kind == "number":
            return self._number(schema)
        if kind == "boolean":
            return self._draws.below(2) == 1
        return None if kind == "null" else self._text(schema, name)

    def _flatten(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The schema with references followed, `allOf` merged in and one variant of `anyOf` / `oneOf` chosen."""
        flat = dict(schema)
        for _ in range(_MAX_DEPTH):
            if "$ref" in flat:
                target = self._resolve(flat.pop("$ref"))
                flat = _merge(target, flat) if isinstance(target, Mapping) else flat
            elif "allOf" in flat:
                for part in flat.pop("allOf"):
                    flat = _merge(flat, self._flatten(part, depth)) if isinstance(part, Mapping) else flat
            elif "anyOf" in flat or "oneOf" in flat:
                variants = flat.pop("anyOf") if "anyOf" in flat else flat.pop("oneOf")
                chosen = self._variant(variants, depth)
                flat = _merge(flat, chosen) if isinstance(chosen, Mapping) else flat
            else:
                break
        return flat

    def _variant(self, variants: Sequence[Any], depth: int) -> Any:
        if not variants:
            return {}
        if depth <= _EASY_DEPTH:
            return self._draws.pick([v for v in variants if not _is_null(v)] or list(variants))
        return min(variants, key=_weight)

    def _resolve(self, pointer: object) -> Any:
        """What a local JSON pointer names; {} (anything) for what is not there or not local."""
        node = self._root
        for part in str(pointer).removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                return {}
        return node

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        most = schema.get("maxProperties", len(properties) + len(required))
        made: dict[str, Any] = {}
        ordered = sorted(properties, key=lambda key: key not in required) if most < len(properties) else list(properties)
        for key in ordered:
            if key in required or (depth < _EASY_DEPTH and len(made) < most):
                made[key] = self._value(properties[key], key, depth + 1)
        extra = schema.get("additionalProperties", True)
        for key in sorted(required - made.keys()):
            made[key] = self._value(extra, key, depth + 1)
        wanted = max(schema.get("minProperties", 0), 1 if isinstance(extra, Mapping) and extra and not properties else 0)
        for key in list(properties) + [f"{self._words[0]}_{i}" for i in range(1, wanted + 1)]:
            if len(made) >= min(wanted, max(most, wanted)):
                break
            made.setdefault(key, self._value(properties.get(key, extra), key, depth + 1))
        return made

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems") or ()
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(prefix) + 2))
        natural = (
            0 if depth > _EASY_DEPTH else len(prefix) + (0 if schema.get("items") is False else 1 + self._draws.below(2))
        )
        count = max(least, min(natural, most))
        made: list[Any] = []
        for index in range(count):
            item = prefix[index] if index < len(prefix) else schema.get("items", True)
            value = self._value(item, name, depth + 1)
            if schema.get("uniqueItems"):
                value = self._unlike(made, value, item, name, depth)
                if value in made and index >= least:
                    break
            made.append(value)
        return made

    def _unlike(self, made: list[Any], value: Any, item: object, name: str, depth: int) -> Any:
        for _ in range(64):
            if value not in made:
                break
            value = self._value(item, name, depth + 1)
        return value

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = _bounds(schema, integral=True)
        step = schema.get("multipleOf")
        if isinstance(step, int | float) and step > 0 and step == int(step):
            first, last = ceil(low / step), floor(high / step)
            return int(step) * (first + self._draws.below(max(last - first + 1, 1)))
        return int(low) + self._draws.below(max(int(high) - int(low) + 1, 1))

    def _number(self, schema: Mapping[str, Any]) -> float:
        step = schema.get("multipleOf")
        low, high = _bounds(schema, integral=False)
        if isinstance(step, int | float) and step > 0:
            first, last = ceil(low / step), floor(high / step)
            return step * (first + self._draws.below(max(last - first + 1, 1)))
        drawn = round(low + (high - low) * (0.25 + self._draws.unit() / 2), 2)
        return drawn if low < drawn < high else (low + high) / 2

    def _text(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if isinstance(schema.get("pattern"), str):
            found = matching(schema["pattern"], self._draws)
            if found is not None:
                return found
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        plain = name.lower().rsplit("_", 1)[-1]
        text = self._draws.pick(_NAMED[plain]) if plain in _NAMED else self._phrase()
        while len(text) < least:
            text += " " + self._draws.pick(self._words)
        return text if most is None else text[:most]

    def _phrase(self) -> str:
        return " ".join(self._draws.pick(self._words) for _ in range(1 + self._draws.below(3)))


def _type_of(schema: Mapping[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        others = [k for k in kind if k != "null"]
        plain = [k for k in others if k not in ("object", "array")]
        if depth > _EASY_DEPTH and "null" in kind:
            return "null"
        return str(((plain if depth > _EASY_DEPTH else []) or others or ["null"])[0])
    if isinstance(kind, str):
        return kind
    for name, keys in _TYPE_HINTS:
        if any(key in schema for key in keys):
            return name
    return "string"


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once, as far as a generator needs it: members together, the narrower bound, the common values."""
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *(r for r in second["required"] if r not in first["required"])]
    if "enum" in first and "enum" in second:
        merged["enum"] = [value for value in first["enum"] if value in second["enum"]]
    for key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
        if key in first and key in second:
            merged[key] = max(first[key], second[key])
    for key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
        if key in first and key in second:
            merged[key] = min(first[key], second[key])
    return merged


def _bounds(schema: Mapping[str, Any], *, integral: bool) -> tuple[float, float]:
    """The closed range to draw from; a side that is not given is set a hundred away from the other."""
    # An excluded bound moves inwards: by one for integers, by a little for numbers.
    nudge = 1 if integral else 1e-6
    lows = [schema[k] + n for k, n in (("minimum", 0), ("exclusiveMinimum", nudge)) if _is_number(schema.get(k))]
    highs = [schema[k] - n for k, n in (("maximum", 0), ("exclusiveMaximum", nudge)) if _is_number(schema.get(k))]
    step = schema.get("multipleOf")
    span = max(100.0, 10 * step) if isinstance(step, int | float) else 100.0
    low = max(lows) if lows else (min(highs) - span if highs else 0.0)
    high = min(highs) if highs else low + span
    if integral:
        return ceil(low), floor(high)
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_null(schema: object) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _weight(schema: object) -> int:
    """How much a variant makes the value grow: the plainest ends a recursion."""
    if not isinstance(schema, Mapping) or _is_null(schema) or "const" in schema or "enum" in schema:
        return 0
    if "$ref" in schema or "allOf" in schema:
        return 4
    return {"object": 3, "array": 2}.get(str(schema.get("type", "object")), 1)
