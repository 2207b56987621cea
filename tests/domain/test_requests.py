"""The partial decode: what is acted on is checked and named, everything else travels unread."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import InvalidRequest
from router.domain.requests import ACTED_ON, TELLING, Api, ModelRequest, parse_request


def parsed(body: bytes) -> ModelRequest:
    return parse_request(Api.CHAT, body)


def test_the_acted_on_fields_are_read_and_the_bytes_kept() -> None:
    body = b'{"model":"m","stream":true,"max_tokens":7,"n":2,"unknown":{"x":1e999}}'
    request = parsed(body)
    assert request.body is body
    assert (request.fields.model, request.stream, request.output_cap, request.fields.n) == ("m", True, 7, 2)


@pytest.mark.parametrize(
    ("api", "body", "cap"),
    [
        (Api.CHAT, b'{"max_tokens":5}', 5),
        (Api.CHAT, b'{"max_completion_tokens":4,"max_tokens":5}', 5),
        (Api.CHAT, b'{"max_output_tokens":3}', None),
        (Api.COMPLETIONS, b'{"max_completion_tokens":4}', None),
        (Api.RESPONSES, b'{"max_output_tokens":3,"max_tokens":9}', 3),
        (Api.RESPONSES, b'{"max_tokens":9}', None),
        (Api.CHAT, b'{"max_tokens":0}', 0),
        (Api.CHAT, b'{"max_tokens":null}', None),
        (Api.CHAT, b'{"max_tokens":-1}', None),
        (Api.CHAT, b"{}", None),
    ],
)
def test_the_output_cap_is_read_by_the_names_of_the_api_and_the_larger_counts(
    api: Api, body: bytes, cap: int | None
) -> None:
    assert parse_request(api, body).output_cap == cap


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (b'{"include_usage":true}', True),
        (b'{"include_usage" : true,"x":1}', True),
        (b'{"include_usage":false}', False),
        (b'{"x":"include_usage"}', False),
        (b"{}", False),
        (b"null", False),
    ],
)
def test_usage_is_asked_for_only_by_a_true_include_usage(options: bytes, asked: bool) -> None:
    assert parsed(b'{"stream_options":' + options + b"}").asked_for_usage is asked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'"a"',
        b"{",
        b'{"a":1,}',
        b'{"a":NaN}',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="JSON"):
        parsed(body)


@pytest.mark.parametrize(
    "body", [b'{"a":"\xff"}', b'{"\xff":1,"model":"a","x":{"model":1}}', b'{"model":"\xc3"}', b'{"metadata":{"\xff":1}}']
)
def test_a_body_that_is_no_utf8_is_refused_wherever_the_byte_stands(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        parsed(body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":1}', "model"),
        (b'{"stream":"yes"}', "stream"),
        (b'{"max_tokens":-2}', "max_tokens"),
        (b'{"n":-1}', "n"),
        (b'{"max_tokens":1.5}', "max_tokens"),
        (b'{"max_completion_tokens":2147483649}', "max_completion_tokens"),
        (b'{"max_output_tokens":"9"}', "max_output_tokens"),
        (b'{"n":100000000000000000000000}', "n"),
        (b'{"stream_options":[]}', "stream_options"),
        (b'{"stream_options":true}', "stream_options"),
    ],
)
def test_a_wrong_value_is_refused_by_name(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(body)
    assert caught.value.param == param
    assert caught.value.message.startswith(param)


@pytest.mark.parametrize("name", ACTED_ON)
def test_a_duplicate_of_an_acted_on_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="twice") as caught:
        parsed(f'{{"{name}":null,"x":1,"{name}":null}}'.encode())
    assert caught.value.param == name


@pytest.mark.parametrize("name", ACTED_ON)
@pytest.mark.parametrize("position", [0, -1])
def test_an_escaped_spelling_of_an_acted_on_name_is_refused(name: str, position: int) -> None:
    letter = name[position]
    spelled = name.replace(letter, f"\\u{ord(letter):04x}", 1) if position == 0 else f"{name[:-1]}\\u{ord(letter):04X}"
    with pytest.raises(InvalidRequest, match="escapes") as caught:
        parsed(f'{{"{spelled}":null}}'.encode())
    assert caught.value.param == name


def test_equal_names_that_are_nested_or_text_are_no_duplicates() -> None:
    nested = b'"tools":[{"model":1,"max_tokens":2}],"messages":[{"content":"\\u0022model\\u0022 \\"stream\\""}]'
    body = b'{"model":"m",' + nested + b',"x":"model"}'
    request = parsed(body)
    span = request.model_span()
    assert span is not None
    assert body[slice(*span)] == b'"m"'


def test_duplicates_of_what_is_not_acted_on_pass() -> None:
    assert parsed(b'{"model":"m","seed":1,"seed":2}').fields.model == "m"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*ACTED_ON, "n", "user", "metadata", "messages", "input", "x"]), JSON, max_size=6))
def test_any_json_object_is_read_or_refused_by_name(value: dict[str, Any]) -> None:
    blamed: str | None = None
    try:
        assert parsed(json.dumps(value).encode()).fields.model == value.get("model")
    except InvalidRequest as error:
        blamed = error.param or "nothing"
    assert blamed is None or blamed in value


SOUGHT = frozenset((*ACTED_ON, *TELLING))
WORDS = st.sampled_from([*sorted(SOUGHT), "role", "tex", "model ", 'say "tools"', "xurl"])
DEEP = st.recursive(
    WORDS | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=9,
)


def strings_in(value: Any) -> list[str]:
    """Every name and every string, as often as it is there."""
    if isinstance(value, dict):
        return [word for name, inner in value.items() for word in (name, *strings_in(inner))]
    if isinstance(value, list):
        return [word for inner in value for word in strings_in(inner)]
    return [value] if isinstance(value, str) else []


@given(st.dictionaries(st.sampled_from(["messages", "x", "a"]), DEEP, max_size=3), st.data())
def test_whatever_is_sought_is_found_wherever_it_stands_and_however_it_is_spelled(
    value: dict[str, Any], data: st.DataObject
) -> None:
    body = json.dumps(value | {"model": "m"})
    for letter in data.draw(st.sets(st.sampled_from("atux_"))):
        body = body.replace(letter, f"\\u{ord(letter):04x}")
    request = parsed(body.encode())
    words = [word.encode() for word in strings_in(json.loads(request.body)) if word in SOUGHT]
    assert request.quoted == frozenset(words)
    assert request.repeated == {word for word in words if words.count(word) > 1}
    span = request.model_span()
    assert span is not None
    assert request.body[slice(*span)] == b'"m"'


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        request = parsed(body)
    except InvalidRequest:
        return
    assert isinstance(json.loads(body), dict)
    request.model_span()
