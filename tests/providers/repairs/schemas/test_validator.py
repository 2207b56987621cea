"""The validator says what the reference implementation says, and ends."""

from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router.providers.repairs.schemas.validator import Mismatch, Schema, UnknownSchema


def fits(schema: Any, value: Any) -> bool:
    try:
        Schema(schema).check(value)
    except Mismatch:
        return False
    return True


_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 4), st.sampled_from([0.5, 1.0, 2.0, 0.3]), st.text("ab", max_size=3)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
_PLAIN = st.one_of(
    st.builds(
        lambda kind: {"type": kind},
        st.sampled_from(["object", "array", "string", "integer", "number", "null", "boolean", ["string", "null"]]),
    ),
    st.builds(
        lambda name, bound: {name: bound},
        st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
        st.integers(-2, 3),
    ),
    st.builds(
        lambda name, bound: {name: bound},
        st.sampled_from(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]),
        st.integers(0, 2),
    ),
    st.builds(lambda step: {"multipleOf": step}, st.sampled_from([1, 2, 0.1, 0.5])),
    st.builds(lambda value: {"const": value}, _VALUES),
    st.builds(lambda values: {"enum": values}, st.lists(_VALUES, max_size=3)),
    st.builds(lambda names: {"required": names}, st.lists(st.sampled_from("abc"), unique=True, max_size=2)),
    st.builds(lambda value: {"uniqueItems": value}, st.booleans()),
    st.builds(lambda text: {"pattern": text}, st.sampled_from(["^a", "b$", "^(ab)+$", "a{2}"])),
    st.builds(lambda a, b: {"dependentRequired": {a: [b]}}, st.sampled_from("abc"), st.sampled_from("abc")),
    st.sampled_from([{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}, True, False, {}]),
)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some, named = st.lists(inner, min_size=1, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    one = st.sampled_from(["items", "contains", "additionalProperties", "propertyNames", "not"])
    return st.one_of(
        st.builds(lambda name, schema: {name: schema}, one, inner),
        st.builds(lambda name, schemas: {name: schemas}, st.sampled_from(["allOf", "anyOf", "oneOf", "prefixItems"]), some),
        st.builds(lambda name, schemas: {name: schemas}, st.sampled_from(["properties", "dependentSchemas"]), named),
        st.builds(lambda schema: {"patternProperties": {"^a": schema}}, inner),
        st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, inner, inner, inner),
        st.builds(lambda a, b: {**a, **b} if isinstance(a, dict) and isinstance(b, dict) else a, inner, inner),
    )


_SCHEMAS = st.recursive(_PLAIN, _grown, max_leaves=8)
_DEFS = {"one": {"type": "string"}, "two": {"properties": {"a": {"$ref": "#/$defs/one"}}}}


@given(_SCHEMAS, _VALUES)
def test_what_fits_is_what_the_reference_implementation_says(schema: Any, value: Any) -> None:
    whole = {**schema, "$defs": _DEFS} if isinstance(schema, dict) else schema
    assert fits(whole, value) is Draft202012Validator(whole).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"unevaluatedProperties": False},
        {"$dynamicRef": "#x"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"type": "text"},
        {"minimum": "1"},
        {"pattern": r"(a)\1"},
        {"properties": {"a": {"weird": 1}}},
        {"anyOf": []},
        [],
        "x",
        None,
    ],
)
def test_a_schema_that_cannot_be_checked_is_not_taken(schema: Any) -> None:
    with pytest.raises(UnknownSchema):
        Schema(schema)


def test_what_is_wrong_is_told_with_its_place() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    with pytest.raises(Mismatch, match=r"a\[1\] must be of the type integer"):
        Schema(schema).check({"a": [1, "x"]})


def test_references_that_multiply_end() -> None:
    defs: dict[str, Any] = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/s0", "$defs": defs | {"s40": {"type": "object"}}}
    began = perf_counter()
    with pytest.raises(Mismatch):
        Schema(schema).check({})
    assert perf_counter() - began < 10


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"not": {"$ref": "#"}}])
def test_references_to_themselves_end(schema: Any) -> None:
    with pytest.raises(Mismatch, match="deep"):
        Schema(schema).check({})


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.text()),
        lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["type", "items", "$ref", "enum", "properties", "x"]), s),
    ),
    _VALUES,
)
def test_any_json_is_a_schema_or_is_said_to_be_none(schema: Any, value: Any) -> None:
    try:
        fits(schema, value)
    except UnknownSchema:
        return
