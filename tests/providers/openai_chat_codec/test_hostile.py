"""Whatever bytes come, a codec says so cleanly: no other exception than its own."""

import json
from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.chat import ChatQuery, Family
from router.domain.errors import InvalidRequest
from router.domain.folding import Fold
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.sse import blocks
from tests.providers.hostile_json import mutated, values_of

NAMES = (
    "id model created choices usage index delta message content role tool_calls function name arguments custom input type "
    "text finish_reason logprobs refusal reasoning_content reasoning reasoning_details audio data annotations url_citation "
    "error code prompt_tokens completion_tokens messages tools tool_choice response_format json_schema image_url url file "
    "stop thinking stream_options include_usage function_call functions modalities metadata token top_logprobs bytes"
).split()
values = values_of(NAMES, ["function", "custom", "text", "image_url", "user", "assistant", "tool", "stop"])
ANSWER = {
    "id": "a",
    "choices": [
        {
            "index": 0,
            "delta": {"content": "x", "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]},
            "message": {"content": "x", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            "logprobs": {"content": [{"token": "x", "logprob": -1, "bytes": [1], "top_logprobs": []}]},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
REQUEST = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
}


def check_answer(body: bytes) -> None:
    with suppress(ValueError):
        result = OPENAI_CHAT.decode_result(body)
        json.loads(OPENAI_CHAT.encode_result(result, ChatQuery(Family.CHAT, ())))


def check_stream(stream: bytes) -> None:
    decoder, fold = OPENAI_CHAT.stream_decoder(), Fold()
    encoder = OPENAI_CHAT.stream_encoder(ChatQuery(Family.CHAT, ()))
    with suppress(ValueError):
        for frame in blocks(stream):
            for event in decoder.feed(frame):
                fold.feed(event)
                encoder.feed(event)
        for event in decoder.close():
            fold.feed(event)
            encoder.feed(event)
    encoder.close()


def check_request(body: bytes) -> None:
    with suppress(InvalidRequest):
        query = OPENAI_CHAT.decode_query(body)
        again = OPENAI_CHAT.encode_query(query, "m", "p/m")
        assert OPENAI_CHAT.decode_query(again.body).turns is not None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), values)
def test_noise_gives_clean_errors(noise: bytes, value: object) -> None:
    for body in (noise, msgspec.json.encode(value)):
        check_answer(body)
        check_stream(b"data: " + body + b"\n\n")
        check_request(body)
        assert OPENAI_CHAT.decode_error(400, body).message


@settings(max_examples=250, deadline=None)
@given(mutated(ANSWER, values), mutated(ANSWER, values), mutated(REQUEST, values))
def test_a_value_of_another_kind_gives_clean_errors(first: object, second: object, request: object) -> None:
    check_answer(msgspec.json.encode(first))
    check_stream(b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in (first, second)))
    check_request(msgspec.json.encode(request))
