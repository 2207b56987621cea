"""Whatever bytes come, the codec says so cleanly: no other exception than its own."""

import json
from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.errors import InvalidRequest
from router.domain.folding import Fold
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.sse import blocks
from tests.providers.hostile_json import mutated, values_of

NAMES = (
    "type id role content text input output summary call_id name arguments encrypted_content annotations logprobs refusal "
    "instructions tools tool_choice format schema parameters namespace reasoning effort include item part delta response "
    "output_index content_index summary_index usage input_tokens output_tokens status error code message item_id url token"
).split()
TYPES = (
    "message reasoning function_call function_call_output custom_tool_call output_text input_text input_image summary_text "
    "response.created response.output_item.added response.output_item.done response.output_text.delta response.completed "
    "response.content_part.added response.content_part.done response.output_text.done response.refusal.delta error "
    "response.reasoning_summary_text.delta response.function_call_arguments.delta response.output_text.annotation.added "
    "function custom namespace allowed_tools json_schema response.failed user assistant"
).split()
values = values_of(NAMES, TYPES)
ITEMS = [
    {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "e"},
    {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "content": [
            {
                "type": "output_text",
                "text": "x",
                "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}],
                "logprobs": [{"token": "x", "logprob": -1, "bytes": [1], "top_logprobs": []}],
            }
        ],
    },
    {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"},
]
ANSWER = {"id": "r", "output": ITEMS, "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1}}
EVENTS = [
    {"type": "response.created", "response": {"id": "r", "model": "m"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs"}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "x"},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEMS[0]},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "x", "logprobs": []},
    {
        "type": "response.content_part.done",
        "output_index": 1,
        "content_index": 0,
        "part": {"type": "output_text", "text": "xy"},
    },
    {"type": "response.output_item.added", "output_index": 2, "item": ITEMS[2]},
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{}"},
    {"type": "response.completed", "response": ANSWER},
]
REQUEST = {
    "instructions": "x",
    "input": [
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
        *ITEMS,
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "c", "format": {"type": "text"}}]},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
}


@settings(max_examples=150, deadline=None)
@given(
    values.map(json.dumps).map(str.encode) | st.binary(max_size=60) | mutated(ANSWER, values).map(json.dumps).map(str.encode)
)
def test_answers(body: bytes) -> None:
    with suppress(ValueError):
        result = OPENAI_RESPONSES.decode_result(body)
        msgspec.json.decode(OPENAI_RESPONSES.encode_result(result, OPENAI_RESPONSES.decode_query(b'{"input":"x"}')))
    assert OPENAI_RESPONSES.decode_error(500, body).message


@settings(max_examples=200, deadline=None)
@given(mutated(EVENTS, values) | st.lists(values, max_size=5))
def test_streams(sent: object) -> None:
    assert isinstance(sent, list)
    decoder, fold = OPENAI_RESPONSES.stream_decoder(), Fold()
    encoder = OPENAI_RESPONSES.stream_encoder(OPENAI_RESPONSES.decode_query(b'{"input":"x"}'))
    with suppress(ValueError):
        for told in sent:
            for block in blocks(b"data: " + json.dumps(told).encode() + b"\n\n"):
                for event in decoder.feed(block):
                    fold.feed(event)
                    encoder.feed(event)
    encoder.close()


@settings(max_examples=200, deadline=None)
@given((values | mutated(REQUEST, values)).map(json.dumps).map(str.encode))
def test_requests(body: bytes) -> None:
    with suppress(InvalidRequest):
        query = OPENAI_RESPONSES.decode_query(body)
        msgspec.json.decode(OPENAI_RESPONSES.encode_query(query, "m", "own/m").body)
