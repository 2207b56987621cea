"""Responses callers over targets of other dialects, and other callers over Responses targets: events, errors, money."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from router.domain.errors import UnsupportedFeature, UpstreamTruncated
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.routes import ProviderSpec
from router.providers.sse import frames
from router.server.headers import answer_headers
from tests.gateway.fakes import Scripted, answer, chat, frame
from tests.gateway.table import Table
from tests.gateway.test_translated import (
    CALLED,
    HELLO,
    START,
    chunks,
    end,
    events,
    gathered,
    message,
    over,
    sent,
    streamed,
    whole,
)

CLAUDE = ProviderSpec(
    "p", "anthropic", "http://p.test", apis=frozenset({Api.MESSAGES}), translates=frozenset({Api.RESPONSES})
)
CHATTY = ProviderSpec(
    "p", "openai-compatible", "http://p.test/v1", apis=frozenset({Api.CHAT}), translates=frozenset({Api.RESPONSES})
)
NEWEST = ProviderSpec(
    "p", "openai", "http://p.test/v1", apis=frozenset({Api.RESPONSES}), translates=frozenset({Api.CHAT, Api.MESSAGES})
)
ITEM = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Good day", "annotations": []}],
}
USAGE = {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17, "output_tokens_details": {"reasoning_tokens": 2}}
DONE = {"id": "resp_1", "model": "m", "created_at": 7, "status": "completed", "output": [ITEM], "usage": USAGE}
DELTA = {
    "type": "response.output_text.delta",
    "output_index": 0,
    "content_index": 0,
    "item_id": "msg_1",
    "delta": "Good day",
}


def responses(stream: bool = False, **fields: Any) -> ModelRequest:
    return parse_request(Api.RESPONSES, msgspec.json.encode({"model": "a", "input": "hello", "stream": stream} | fields))


async def test_a_responses_caller_gets_a_response_of_a_messages_target() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "Good day"}))
    got, body = await whole(table, responses(max_output_tokens=20, instructions="Be brief."))
    read = Response.model_validate(body, strict=True)
    assert (read.output_text, read.status, read.created_at) == ("Good day", "completed", table.clock.now_us() // 1_000_000)
    assert sent(table) == {
        "model": "m",
        "max_tokens": 20,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert got.cost == 12 + 5 * 2 and not got.dropped


async def test_a_responses_caller_gets_a_response_of_a_chat_target() -> None:
    table = over(CHATTY, answer("Good day"))
    _, body = await whole(table, responses(text={"format": {"type": "json_object"}}))
    assert Response.model_validate(body, strict=True).output_text == "Good day"
    assert table.transport.calls[0].to.url == "http://p.test/v1/chat/completions"
    assert sent(table)["response_format"] == {"type": "json_object"}


async def test_a_messages_stream_becomes_the_events_of_a_response() -> None:
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO, *CALLED, *end("tool_use"))))
    stream = await streamed(table, responses(stream=True))
    told = [json.loads(data) for _, data in frames(stream)]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    read = Response.model_validate(told[-1]["response"], strict=True)
    assert [item.type for item in read.output] == ["message", "function_call"]
    assert read.usage is not None and (read.usage.input_tokens, read.usage.output_tokens) == (12, 5)
    assert table.entry.cost == 12 + 5 * 2


@pytest.mark.parametrize("cut", [1, 7, 64])
async def test_frames_cut_anywhere_make_the_same_events(cut: int) -> None:
    script = b"".join(events(START, *HELLO, *CALLED, *end("tool_use")))
    pieces = [script[at : at + cut] for at in range(0, len(script), cut)]
    one = await streamed(over(CLAUDE, Scripted(pieces=[script])), responses(stream=True))
    assert await streamed(over(CLAUDE, Scripted(pieces=pieces)), responses(stream=True)) == one


async def test_a_chat_stream_is_asked_for_its_usage() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}\n\n'
    table = over(CHATTY, Scripted(pieces=[frame("Good "), frame("day"), frame(finish="stop"), usage, b"data: [DONE]\n\n"]))
    stream = await streamed(table, responses(stream=True))
    assert sent(table)["stream_options"] == {"include_usage": True}
    *_, (name, data) = frames(stream)
    assert name == b"response.completed"
    assert json.loads(data)["response"]["usage"]["total_tokens"] == 12


async def test_a_stream_that_is_cut_never_looks_finished() -> None:
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO)))
    pieces: list[bytes] = []
    with pytest.raises(UpstreamTruncated):
        await gathered(table, responses(stream=True), pieces)
    assert b"day" in b"".join(pieces) and b"response.completed" not in b"".join(pieces)


async def test_a_stream_that_its_target_breaks_has_failed() -> None:
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO, busy)))
    names = [name for name, _ in frames(await streamed(table, responses(stream=True)))]
    assert names[-2:] == [b"error", b"response.failed"]
    assert table.outcomes == ["server_error"] and table.entry.cost > 0


async def test_what_a_target_was_not_told_is_said_once_for_all_items() -> None:
    items = [{"type": "message", "id": f"msg_{n}", "role": "user", "content": "x"} for n in range(3)]
    table = over(CLAUDE, message({"type": "text", "text": "x"}))
    got, _ = await whole(table, responses(input=items, safety_identifier="s"))
    assert got.dropped == ("input[].id", "safety_identifier")
    assert answer_headers(got, explain=False)["X-Router-Dropped"] == "input[].id, safety_identifier"


async def test_what_cannot_be_said_is_refused_by_name_and_costs_nothing() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "x"}))
    with pytest.raises(UnsupportedFeature) as refused:
        await table.ask(responses(tools=[{"type": "web_search"}]))
    assert refused.value.param and "p/m" in refused.value.message
    assert not table.transport.calls and table.entry.cost == 0


async def test_a_field_is_named_as_its_caller_knows_it() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "x"}))
    stored = {"type": "input_image", "file_id": "file-1"}
    with pytest.raises(UnsupportedFeature) as refused:
        await table.ask(responses(input=[{"role": "user", "content": [stored]}]))
    assert refused.value.param == "input" and refused.value.message.startswith("input: ")


# -- Responses targets ------------------------------------------------------------------------------------------------


async def test_a_chat_caller_gets_a_chat_answer_of_a_responses_target() -> None:
    table = over(NEWEST, Scripted(body=msgspec.json.encode(DONE)))
    got, body = await whole(table, chat(max_tokens=20))
    assert body["choices"][0]["message"]["content"] == "Good day"
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert table.transport.calls[0].to.url == "http://p.test/v1/responses"
    assert sent(table) == {
        "model": "m",
        "input": [{"role": "user", "content": "hello"}],
        "max_output_tokens": 20,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert got.cost == 12 + 5 * 2


async def test_the_events_of_a_response_become_a_chat_stream() -> None:
    script = events(
        {"type": "response.created", "response": DONE | {"output": []}},
        DELTA,
        {"type": "response.completed", "response": DONE},
    )
    table = over(NEWEST, Scripted(pieces=script))
    found = chunks(await streamed(table, chat(stream=True, stream_options={"include_usage": True})))
    assert "".join(choice.delta.content or "" for chunk in found for choice in chunk.choices) == "Good day"
    assert found[-1].usage is not None and found[-1].usage.total_tokens == 17
    assert table.entry.cost == 12 + 5 * 2


async def test_a_response_that_fails_on_its_way_breaks_the_stream() -> None:
    failed = DONE | {"status": "failed", "error": {"code": "server_error", "message": "no luck"}}
    script = events({"type": "response.created", "response": DONE}, DELTA, {"type": "response.failed", "response": failed})
    table: Table = over(NEWEST, Scripted(pieces=script))
    stream = await streamed(table, chat(stream=True))
    assert b"no luck" in stream and b"[DONE]" not in stream
    assert table.outcomes == ["server_error"]


async def test_the_summaries_of_a_thought_are_paragraphs_in_a_chat_stream_as_in_a_chat() -> None:
    pieces = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    thought = {"type": "reasoning", "id": "rs_1", "summary": pieces, "encrypted_content": "e"}
    done = DONE | {"output": [thought, ITEM]}
    script = events({"type": "response.created", "response": DONE}, {"type": "response.completed", "response": done})
    stream = await streamed(over(NEWEST, Scripted(pieces=script)), chat(stream=True))
    deltas = [choice.delta.model_dump() for chunk in chunks(stream) for choice in chunk.choices]
    _, body = await whole(over(NEWEST, Scripted(body=msgspec.json.encode(done))), chat())
    said = body["choices"][0]["message"]["reasoning_content"]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == said == "One.\n\nTwo."
