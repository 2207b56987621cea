"""Splicing: what the contract lists changes, every other byte stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.requests import Api, parse_request
from router.providers.passthrough import passed_body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("model"), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.none() | st.dictionaries(st.sampled_from(["include_obfuscation", "x"]), JSON, max_size=2)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(max_size=8) | st.none(),
        "messages": st.lists(st.dictionaries(st.sampled_from(["model", "content"]), JSON), max_size=3),
        "tools": JSON,
        "stream_options": OPTIONS | st.just({"include_usage": False}),
        "extra": JSON,
    },
)


def passed(body: bytes, model: str = "up", *, usage: bool = False) -> bytes:
    return passed_body(parse_request(Api.CHAT, body), model, inject_usage=usage)


def test_an_equal_name_passes_the_very_same_bytes() -> None:
    request = parse_request(Api.CHAT, b'{"model":"m","x":1}')
    assert passed_body(request, "m", inject_usage=False) is request.body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model": "a", "x": 1.50}', b'{"model": "up", "x": 1.50}'),
        (b' {\n "x" : [1], "model"\t:\t"a"}\n', b' {\n "x" : [1], "model"\t:\t"up"}\n'),
        (b'{"tools":[{"model":"in"}],"model":"a"}', b'{"tools":[{"model":"in"}],"model":"up"}'),
        (b'{"x":"model","model":"a"}', b'{"x":"model","model":"up"}'),
        (b'{"x":1}', b'{"model":"up","x":1}'),
        (b"{ }", b'{"model":"up" }'),
        (b'{"model":null}', b'{"model":"up"}'),
    ],
)
def test_only_the_value_of_model_is_spliced(body: bytes, expected: bytes) -> None:
    assert passed(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"up","n":1}', b'{"stream_options":{"include_usage":true},"model":"up","n":1}'),
        (b'{"model":"up","stream_options":null}', b'{"model":"up","stream_options":{"include_usage":true}}'),
        (b'{"model":"up","stream_options":{ }}', b'{"model":"up","stream_options":{"include_usage":true }}'),
        (b'{"stream_options":{"x": 1},"model":"up"}', b'{"stream_options":{"include_usage":true,"x": 1},"model":"up"}'),
        (
            b'{"stream_options":{"include_usage" :false},"model":"up"}',
            b'{"stream_options":{"include_usage" :true},"model":"up"}',
        ),
        (b"{}", b'{"model":"up","stream_options":{"include_usage":true}}'),
    ],
)
def test_usage_is_asked_for_beside_the_other_options(body: bytes, expected: bytes) -> None:
    assert passed(body, usage=True) == expected


def test_a_name_with_quotes_and_letters_beyond_ascii_is_written_as_json() -> None:
    assert json.loads(passed(b'{"model":"a"}', 'ü"\\x')) == {"model": 'ü"\\x'}


def spelled(value: Any, data: st.DataObject) -> bytes:
    """The same JSON in one of several spellings."""
    spaced = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    return json.dumps(value, ensure_ascii=data.draw(st.booleans()), separators=spaced).encode("utf-8", "surrogatepass")


@given(BODIES, st.booleans(), st.data())
def test_the_body_means_the_same_but_for_model_and_usage(value: dict[str, Any], usage: bool, data: st.DataObject) -> None:
    body = spelled(value, data)
    expected = value | {"model": "up"}
    if usage:
        expected["stream_options"] = (value.get("stream_options") or {}) | {"include_usage": True}
    request = parse_request(Api.CHAT, body)
    once = passed_body(request, "up", inject_usage=usage)
    assert json.loads(once) == expected
    assert passed_body(request, "up", inject_usage=usage) == once


@given(BODIES, st.data())
def test_all_bytes_around_the_model_stay(value: dict[str, Any], data: st.DataObject) -> None:
    body = spelled(value | {"model": "caller"}, data)
    request = parse_request(Api.CHAT, body)
    span = request.model_span()
    assert span is not None
    assert body[span[0] : span[1]] == b'"caller"'
    assert passed_body(request, "up", inject_usage=False) == body[: span[0]] + b'"up"' + body[span[1] :]
