"""Bodies and JSON answers of the OpenAI family, and what a stream that was left has produced."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.usage import NOTHING, Usage
from router.providers.answers import estimated_output_tokens
from router.providers.openai_chat import CHAT, COMPLETIONS
from router.providers.openai_media import EMBEDDINGS, MODERATIONS
from router.providers.openai_responses import RESPONSES

SCHEMA = b'{ "type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.10}} }'


def request(api: Api, body: bytes) -> ModelRequest:
    return parse_request(api, body)


def responses_body(body: bytes) -> bytes:
    return RESPONSES.build_body(request(Api.RESPONSES, body), "up", inject_usage=True)


# -- responses: response_format --------------------------------------------------------------------------------------


def test_responses_without_response_format_keep_all_but_the_model() -> None:
    assert responses_body(b'{"model":"a","input":"hi","text":{"verbosity":"low"}}') == (
        b'{"model":"up","input":"hi","text":{"verbosity":"low"}}'
    )


def test_a_json_schema_is_flattened_into_text_format_and_keeps_its_bytes() -> None:
    body = (
        b'{"model":"a","response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":'
        + SCHEMA
        + b"}}}"
    )
    assert responses_body(body) == (
        b'{"model":"up","text":{"format":{"type":"json_schema","name":"x","strict":true,"schema":' + SCHEMA + b"}}}"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"response_format":{"type":"json_object"},"model":"a","text":{"verbosity": "low"}}',
            b'{"model":"up","text":{"format":{"type":"json_object"},"verbosity": "low"}}',
        ),
        (
            b'{"model":"a", "text": {}, "response_format": {"type":"text"}}',
            b'{"model":"up", "text": {"format":{"type":"text"}}}',
        ),
        (
            b'{"model":"a","text":null,"response_format":{"type":"text"},"n":1}',
            b'{"model":"up","text":{"format":{"type":"text"}},"n":1}',
        ),
        (b'{"model":"a","response_format":null}', b'{"model":"up"}'),
        (b'{"response_format":null}', b'{"model":"up"}'),
    ],
)
def test_response_format_is_merged_into_text(body: bytes, expected: bytes) -> None:
    assert json.loads(responses_body(body)) == json.loads(expected)
    assert responses_body(body) == expected


def test_response_format_and_text_format_together_are_refused_by_name() -> None:
    body = b'{"model":"a","text":{"format":{"type":"text"}},"response_format":{"type":"text"}}'
    with pytest.raises(InvalidRequest) as caught:
        responses_body(body)
    assert caught.value.param == "response_format"


def test_an_unknown_response_format_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        responses_body(b'{"model":"a","response_format":{"type":"grammar"}}')
    assert caught.value.param == "response_format.type"
    assert "'grammar'" in caught.value.message


@pytest.mark.parametrize(
    ("given_format", "param"),
    [
        (b'{"type":"json_schema"}', "response_format.json_schema"),
        (b'{"type":"json_schema","json_schema":{"schema":{}}}', "response_format.json_schema.name"),
        (b'"json"', "response_format"),
        (b"{}", "response_format"),
        (b'{"type":7}', "response_format"),
    ],
)
def test_a_broken_response_format_names_what_is_wrong(given_format: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        responses_body(b'{"model":"a","response_format":' + given_format + b"}")
    assert caught.value.param == param


def test_a_text_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        responses_body(b'{"model":"a","text":"x","response_format":{"type":"text"}}')
    assert caught.value.param == "text"


# -- json answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MODERATIONS])
@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'"x"', b'{"usage":', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_json_object_is_a_value_error(dialect: Any, answer: bytes) -> None:
    with pytest.raises(ValueError, match="JSON object"):
        dialect.usage_of(answer)


def test_an_answer_without_usage_is_unknown() -> None:
    assert CHAT.usage_of(b'{"choices":[]}') is None
    assert RESPONSES.usage_of(b'{"usage":null}') is None
    assert EMBEDDINGS.usage_of(b'{"data":[]}') is None


def test_a_moderation_uses_nothing_unless_it_says_so() -> None:
    assert MODERATIONS.usage_of(b'{"results":[]}') == NOTHING
    assert MODERATIONS.usage_of(b'{"results":[],"usage":{"prompt_tokens":4,"total_tokens":4}}') == Usage(4, 0)


def test_embeddings_count_input_only() -> None:
    assert EMBEDDINGS.usage_of(b'{"usage":{"prompt_tokens":4,"total_tokens":4}}') == Usage(4, 0)


def test_an_output_left_unknown_is_estimated_from_the_texts() -> None:
    answer = {"choices": [{"message": {"content": "x" * 40}}], "usage": {"prompt_tokens": 3, "completion_tokens": None}}
    assert CHAT.usage_of(json.dumps(answer).encode()) == Usage(3, 10, estimated=True)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "x" * 40}}]}, 10),
        ({"choices": [{"text": "x"}]}, 1),
        (
            {
                "choices": [
                    {"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}" * 10}}]}}
                ]
            },
            5,
        ),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "é" * 40}]}]}, 20),
        ({"choices": [{"message": {"content": ""}}]}, 0),
        ({"data": [{"embedding": [0.5]}]}, 0),
    ],
)
def test_an_answer_is_estimated_by_its_texts(answer: dict[str, Any], tokens: int) -> None:
    assert estimated_output_tokens(json.dumps(answer).encode()) == tokens


# -- streams that were left ------------------------------------------------------------------------------------------


def chunk(text: str, **more: object) -> bytes:
    return (
        b"data: " + json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, **more}]}).encode() + b"\n\n"
    )


@pytest.mark.parametrize("padding", ["", "x" * 37])
def test_a_left_stream_of_one_token_a_frame_is_counted_within_two_percent(padding: str) -> None:
    words = [" the", " quick", " brown", "fox", " über", " 世", "!", " jumped", "\n", " over"] * 50
    meter = CHAT.stream_meter(request(Api.CHAT, b'{"stream":true}'), hides_usage=True)
    meter.feed(b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n')
    for count, word in enumerate(words, start=1):
        meter.feed(chunk(word, obfuscation=padding[: count % 30]))
        assert abs(meter.estimated_output_tokens() - count) <= max(1, 0.02 * count)
    assert not meter.finished


def test_a_left_stream_of_long_frames_is_estimated_by_its_text() -> None:
    meter = CHAT.stream_meter(request(Api.CHAT, b'{"stream":true}'), hides_usage=True)
    for _ in range(200):
        meter.feed(chunk("x" * 80))
    assert 3800 <= meter.estimated_output_tokens() <= 4200


def test_one_piece_of_content_is_at_least_one_token_and_none_is_none() -> None:
    meter = CHAT.stream_meter(request(Api.CHAT, b'{"stream":true}'), hides_usage=False)
    meter.feed(b": ping\n\n" + chunk(""))
    assert meter.estimated_output_tokens() == 0
    meter.feed(chunk("."))
    assert meter.estimated_output_tokens() == 1


def test_a_left_responses_stream_counts_its_deltas() -> None:
    meter = RESPONSES.stream_meter(request(Api.RESPONSES, b'{"stream":true}'), hides_usage=False)
    created = b'{"type":"response.created","response":{"instructions":"' + b"x" * 5000 + b'"}}'
    meter.feed(b"event: response.created\ndata: " + created + b"\n\n")
    for _ in range(300):
        meter.feed(b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":" hey"}\n\n')
    assert meter.estimated_output_tokens() == 300


def test_frames_that_need_no_look_are_relayed_as_the_same_object() -> None:
    frame = chunk("hi", finish_reason=None)
    assert CHAT.stream_meter(request(Api.CHAT, b'{"stream":true}'), hides_usage=True).feed(frame) is frame


PIECES = st.binary(max_size=4) | st.sampled_from(
    [
        *(b"data: ", b"\n\n", b"\r", b"event: error\n", b"[DONE]", b"[", b"]", b"{", b"}", b",", b"1"),
        *(b'{"choices":', b'"finish_reason":"stop"', b'"usage":{"prompt_tokens":1}', b'"error":1'),
        *(b'"type":"error"', b'"type":"response.completed"', b'"delta":3'),
    ]
)


@pytest.mark.parametrize(("api", "dialect"), [(Api.CHAT, CHAT), (Api.COMPLETIONS, COMPLETIONS), (Api.RESPONSES, RESPONSES)])
@given(data=st.data())
def test_a_meter_survives_any_bytes_and_relays_them(api: Api, dialect: Any, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(PIECES, max_size=20))
    meter = dialect.stream_meter(request(api, b'{"stream":true}'), hides_usage=False)
    assert b"".join(meter.feed(piece) for piece in pieces) == b"".join(pieces)
    assert meter.estimated_output_tokens() >= 0


FRAMES = st.sampled_from(
    [
        *(chunk("hi", finish_reason=None), b": ping\n\n", b"data: [DONE]\n\n", b'data: {"choices":[],"usage":null}\n\n'),
        *(b'data: {"choices":[{"index":%d,"finish_reason":"stop"}]}\n\n' % index for index in (0, 1)),
        b'data: {"choices": [{"index": 1, "finish_reason": "stop"}]}\r\n\r\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n',
        b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":7,"completion_tokens":-3}}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": 8}}\n\n',
        b'data: {"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":4}}}\n\n',
        *(b'data: {"error":{"message":"no"}}\n\n', b'event: error\ndata: {"error":1}\n\n'),
    ]
)


@given(frames=st.lists(FRAMES, max_size=8), count=st.sampled_from([1, 2]))
def test_a_burst_tells_what_its_frames_tell_one_by_one(frames: list[bytes], count: int) -> None:
    asked = request(Api.CHAT, b'{"stream":true,"n":%d}' % count)
    burst, paced = (CHAT.stream_meter(asked, hides_usage=True) for _ in range(2))
    assert burst.feed(b"".join(frames)) == b"".join(paced.feed(frame) for frame in frames)
    assert (burst.usage, burst.finished, burst.failed) == (paced.usage, paced.finished, paced.failed)


def test_an_output_left_unknown_is_estimated_from_what_comes_after_its_usage_too() -> None:
    meter = CHAT.stream_meter(request(Api.CHAT, b'{"stream":true}'), hides_usage=False)
    meter.feed(b'data: {"choices": [], "usage": {"prompt_tokens": 8}}\n\n')
    for _ in range(40):
        meter.feed(chunk("four", finish_reason=None))

    assert meter.usage is not None
    assert (meter.usage.input_tokens, meter.usage.output_tokens) == (8, meter.estimated_output_tokens())
    assert meter.usage.output_tokens >= 40
