"""Generated values fit the schema they were generated for."""

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.providers.simulated.pattern import matching
from router.providers.simulated.schema import SchemaInstance
from router.providers.simulated.text import Draws

Schema = dict[str, Any]
_names = st.sampled_from(["name", "city", "count", "tags", "nested", "a", "b"])
_texts = st.one_of(
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 20),
        st.integers(0, 20),
    ),
    st.sampled_from(["date", "date-time", "email", "uuid", "ipv4", "uri"]).map(lambda f: {"type": "string", "format": f}),
    st.sampled_from(["^[A-Z]{3}-\\d{4}$", "^(red|green)$", "^\\w+@\\w+\\.com$", "^[^x]?z*$"]).map(
        lambda p: {"type": "string", "pattern": p}
    ),
)
_bounds = st.builds(lambda low, more: (low, low + more), st.integers(-1000, 1000), st.integers(0, 500))
_numbers = st.one_of(
    st.builds(lambda b: {"type": "integer", "minimum": b[0], "maximum": b[1]}, _bounds),
    st.builds(lambda b: {"type": "integer", "exclusiveMinimum": b[0]}, _bounds),
    st.builds(lambda b: {"type": "integer", "maximum": b[0]}, _bounds),
    st.builds(lambda b, m: {"type": "integer", "minimum": b[0], "multipleOf": m}, _bounds, st.integers(1, 50)),
    st.builds(lambda b: {"type": "number", "minimum": b[0], "maximum": b[1]}, _bounds),
    st.builds(lambda b: {"type": "number", "exclusiveMinimum": b[0], "exclusiveMaximum": b[1] + 1}, _bounds),
)
_leaves: st.SearchStrategy[Schema] = st.one_of(
    _texts,
    _numbers,
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {"const": 7}, {"$ref": "#/$defs/leaf"}]
    ),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none()), min_size=1).map(lambda e: {"enum": e}),
)


def _object(properties: dict[str, Schema], required: set[str], is_closed: bool) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "required": sorted(required & properties.keys())}
    return schema | ({"additionalProperties": False} if is_closed else {})


def _branches(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.builds(_object, st.dictionaries(_names, inner, max_size=4), st.sets(_names), st.booleans()),
        st.builds(
            lambda item, low, more: {"type": "array", "items": item, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"anyOf": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"type": "array", "prefixItems": items, "items": False}),
        st.builds(lambda item: {"type": "object", "additionalProperties": item}, inner),
    )


schemas = st.recursive(_leaves, _branches, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(schemas, st.integers(0, 2**32))
def test_instance_validates_against_its_schema(schema: Schema, seed: int) -> None:
    root = {**schema, "$defs": {"leaf": {"type": "integer", "minimum": 3}}}
    instance = SchemaInstance(root, Draws(seed), ("train", "Japan")).make()
    jsonschema.Draft202012Validator(root).validate(instance)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"], "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}},
        {"type": "object", "required": ["children"], "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                   {"properties": {"b": {"enum": [1, 2]}}, "required": ["b"]}]},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"properties": {"a~b": {"type": "integer"}}, "required": ["a~b", "c"]},
        {"type": "object", "minProperties": 2},
        True,
    ],
)  # fmt: skip
def test_recursive_and_combined_schemas_end_in_a_valid_instance(schema: Any) -> None:
    for seed in range(50):
        jsonschema.Draft202012Validator(schema).validate(SchemaInstance(schema, Draws(seed)).make())


def test_schema_that_requires_itself_ends() -> None:
    schema = {"type": "object", "required": ["me"], "properties": {"me": {"$ref": "#"}}}
    assert SchemaInstance(schema, Draws(1)).make()["me"]["me"]


@pytest.mark.parametrize(
    "pattern", [r"^[a-z]{2,4}\d?$", r"(?:ab|c)+", r"^\+?[1-9]\d{1,14}$", r"^[\w.-]+@[\w-]+\.[a-z]{2,}$", r"\[x\]"]
)
def test_patterns_are_matched(pattern: str) -> None:
    for seed in range(50):
        found = matching(pattern, Draws(seed))
        assert found is not None
        assert re.search(pattern, found)


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"\p{L}", "(", r"a{999999}"])
def test_unknown_patterns_are_left_alone(pattern: str) -> None:
    assert matching(pattern, Draws(1)) is None
