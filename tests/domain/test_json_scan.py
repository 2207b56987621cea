"""Spans of top-level members: exact in every spelling, blind to what is nested or quoted."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.json_scan import OUTLINED_FROM, member_span, outline, string_value, top_level_members

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(['"', "\\", '\\"', '{"a":[1]}', "],}", ":", ","]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(max_size=6) | st.sampled_from(["model", 'mo"del', "a:b", "{", "é"])


@given(
    st.dictionaries(NAMES, JSON, max_size=6), st.booleans(), st.sampled_from([(",", ":"), (" , ", "\t:\n"), (",\r\n", ": ")])
)
def test_members_are_found_with_their_exact_values(
    value: dict[str, Any], ascii_only: bool, separators: tuple[str, str]
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode("utf-8")
    found = list(top_level_members(b" \n" + body + b"\n"))
    assert [m.name for m in found] == list(value)
    whole = b" \n" + body + b"\n"
    for member, expected in zip(found, value.values(), strict=True):
        assert json.loads(whole[slice(*member.value)]) == expected
        assert json.loads(whole[slice(*member.key)]) == member.name
        assert whole[member.value[0] : member.value[1]].strip() == whole[member.value[0] : member.value[1]]


def test_duplicates_are_all_yielded() -> None:
    assert [m.name for m in top_level_members(b'{"a":1,"b":2,"a":3}')] == ["a", "b", "a"]


def test_an_escaped_name_is_decoded_and_marked() -> None:
    (member,) = top_level_members(b'{"mod\\u0065l":1}')
    assert (member.name, member.escaped) == ("model", True)


@pytest.mark.parametrize("body", [b"{}", b" { } "])
def test_an_empty_object_has_no_members(body: bytes) -> None:
    assert list(top_level_members(body)) == []


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"model":"a"}', b'"a"'),
        (b'{"x":{"model":"in"},"model" : "a\\"b"}', b'"a\\"b"'),
        (b'{"x":"model","model":"a"}', b'"a"'),
        (b'{"x":"say \\"model\\": 1","model":"a"}', b'"a"'),
        (b'{"model":null}', b"null"),
        (b'{"model":{"deep":[1,2]} }', b'{"deep":[1,2]}'),
    ],
)
def test_the_span_is_that_of_the_top_level_member(body: bytes, value: bytes) -> None:
    span = member_span(body, "model")
    assert span is not None
    assert body[slice(*span)] == value


@pytest.mark.parametrize("body", [b"{}", b'{"x":"model"}', b'{"x":{"model":1}}', b'{"x":["model"]}'])
def test_an_absent_member_has_no_span(body: bytes) -> None:
    assert member_span(body, "model") is None


@pytest.mark.parametrize("body", [b'{"model" :\n"a"}', b'{"x":"\\"model\\": 1","y":{"model":"a"}}'])
def test_the_string_behind_a_quoted_name_is_found_without_a_scan(body: bytes) -> None:
    span = string_value(body, b'"model"')
    assert span is not None
    assert body[slice(*span)] == b'"a"'
    assert string_value(b'{"model":null}', b'"model"') is None


def test_a_long_string_is_scanned_without_recursion() -> None:
    body = b'{"x":"' + b'\\"' * 200_000 + b'","model":"a"}'
    span = member_span(body, "model")
    assert span is not None
    assert body[slice(*span)] == b'"a"'


PIECES = st.sampled_from(
    ['"model"', '"url": "https://x/', '"n":', '"max_tokens"', '\\"url\\"', "data:image/png;base64,", " " * 300, ":"]
)
LONG = st.builds(lambda text, size: text * size, st.sampled_from(["A", "ab ", "\\n", "\\\\", "1,"]), st.integers(0, 90_000))


@given(st.lists(PIECES | LONG, max_size=12))
def test_an_outline_has_every_name_and_how_each_value_begins(pieces: list[str]) -> None:
    body = ("{" + '"'.join(pieces) + "x" * OUTLINED_FROM).encode()
    short = outline(body)
    for pattern in (rb'"model"', rb'"n"\s*:', rb'"url"\s*:\s*"https?:', rb'"data:image/', rb'\\"'):
        assert len(re.findall(pattern, short)) == len(re.findall(pattern, body))


def test_an_outline_leaves_out_what_is_only_long() -> None:
    picture = b"A" * 2**20
    body = b'{"model":"m","content":"data:image/png;base64,' + picture + b'"}'
    assert outline(body).startswith(b'{"model":"m","content":"data:image/png;base64,AAA')
    assert len(outline(body)) < 1024


def test_many_quotes_are_not_outlined_and_an_image_before_them_is() -> None:
    dense = b'{"model":"m","messages":[' + b'{"role":"user"},' * OUTLINED_FROM + b"]}"
    assert outline(dense) == dense
    image = b'{"url":"data:image/png;base64,' + b"A" * 2 * OUTLINED_FROM + b'"}'
    body = b'{"image":' + image + b',"rest":' + dense + b"}"
    short = outline(body)
    assert len(body) - len(short) > OUTLINED_FROM and short.endswith(dense + b"}")


def test_blanks_hide_nothing_from_an_outline() -> None:
    body = b'{"url"' + b" " * 100_000 + b":" + b" " * 100_000 + b'"https://x"}'
    assert re.search(rb'"url"\s*:\s*"https:', outline(body))
