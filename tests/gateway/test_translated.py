"""Callers of one dialect, targets of another: answers, streams, errors and money come over whole."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from router.domain.errors import GatewayError, InvalidUpstreamResponse, UnsupportedFeature, UpstreamTruncated
from router.domain.flow import pieces_of
from router.domain.folding import folded
from router.domain.requests import SAID_IN, Api, ModelRequest, parse_request
from router.domain.routes import ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import NOTHING
from router.gateway.answer import Answer
from router.gateway.case import Caller
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.registry import bind
from router.providers.sse import blocks, frames
from router.server.headers import answer_headers
from tests.gateway.fakes import Scripted, ScriptedTransport, answer, chat, frame, principal
from tests.gateway.table import Table, alias

CLAUDE = ProviderSpec("p", "anthropic", "http://p.test", apis=frozenset({Api.MESSAGES}), translates=frozenset({Api.CHAT}))
COMPATIBLE = ProviderSpec(
    "p", "openai-compatible", "http://p.test/v1", apis=frozenset({Api.CHAT}), translates=frozenset({Api.MESSAGES})
)
USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}


def message(*content: dict[str, Any], stop: str = "end_turn") -> Scripted:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
    }
    return Scripted(body=msgspec.json.encode(body))


def events(*told: dict[str, Any]) -> list[bytes]:
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in told]


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE | {"output_tokens": 1},
    },
}
HELLO = (
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "day"}},
    {"type": "content_block_stop", "index": 0},
)
CALLED = (
    {"type": "content_block_start", "index": 1, "content_block": CALL | {"input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"city": '}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"Rome"}'}},
    {"type": "content_block_stop", "index": 1},
)


def end(reason: str) -> Sequence[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, {"type": "message_stop"}


def messages(stream: bool = False, **fields: Any) -> ModelRequest:
    body = {"model": "a", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}], "stream": stream} | fields
    return parse_request(Api.MESSAGES, msgspec.json.encode(body))


def over(spec: ProviderSpec, *script: Scripted | Exception) -> Table:
    return Table(alias("a", "p"), providers=[spec], p=list(script))


def sent(table: Table) -> Any:
    body = table.transport.calls[-1].body
    assert isinstance(body, bytes)
    return json.loads(body)


async def whole(table: Table, request: ModelRequest) -> tuple[Answer, Any]:
    async with table.open(request) as got:
        assert got.body is not None and got.content_type == "application/json"
        return got, json.loads(got.body)


async def streamed(table: Table, request: ModelRequest) -> bytes:
    async with table.open(request) as got:
        assert got.frames is not None and got.content_type == "text/event-stream"
        return b"".join([piece async for piece in pieces_of(got.frames)])


async def gathered(table: Table, request: ModelRequest, pieces: list[bytes]) -> None:
    async with table.open(request) as got:
        assert got.frames is not None
        async for piece in pieces_of(got.frames):
            pieces.append(piece)  # noqa: PERF401  what came before an error counts


def chunks(stream: bytes) -> list[ChatCompletionChunk]:
    return [ChatCompletionChunk.model_validate_json(data, strict=True) for _, data in frames(stream) if data != b"[DONE]"]


# -- Chat callers, Messages targets -----------------------------------------------------------------------------


async def test_a_chat_caller_gets_a_chat_answer_of_a_messages_target() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "Good day"}))
    got, body = await whole(table, chat(max_completion_tokens=20, stop="END"))
    completion = ChatCompletion.model_validate(body, strict=True)
    assert completion.choices[0].message.content == "Good day"
    assert (completion.choices[0].finish_reason, completion.id, completion.model) == ("stop", "msg_1", "claude")
    assert completion.created == table.clock.now_us() // 1_000_000
    assert completion.usage is not None and completion.usage.prompt_tokens == 12
    call = table.transport.calls[0]
    assert call.to.url == "http://p.test/v1/messages"
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert sent(table) == {
        "model": "m",
        "max_tokens": 20,
        "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert got.cost == 12 + 5 * 2 and not got.dropped


async def test_a_cap_of_the_catalog_stands_in_where_a_messages_target_needs_one() -> None:
    table = Table(alias("a", "p", max_output_tokens=777), providers=[CLAUDE], p=[message({"type": "text", "text": "x"})])
    await table.ask(chat())
    assert sent(table)["max_tokens"] == 777


async def test_a_stream_arrives_in_chunks_with_the_usage_that_was_asked_for() -> None:
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO, *CALLED, *end("tool_use"))))
    stream = await streamed(table, chat(stream=True, tools=[WEATHER], stream_options={"include_usage": True}))
    assert stream.endswith(b"data: [DONE]\n\n")
    found = chunks(stream)
    deltas = [choice.delta for chunk in found for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Good day"
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert (calls[0].id, calls[0].index) == ("toolu_1", 0)
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert json.loads(arguments) == {"city": "Rome"}
    assert [c.finish_reason for chunk in found for c in chunk.choices if c.finish_reason] == ["tool_calls"]
    assert found[-1].usage is not None and (found[-1].usage.prompt_tokens, found[-1].usage.completion_tokens) == (12, 5)
    assert table.entry.cost == 12 + 5 * 2


async def test_a_stream_without_that_wish_has_no_usage_chunk() -> None:
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO, *end("end_turn"))))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks(await streamed(table, chat(stream=True))))


@pytest.mark.parametrize("cut", [1, 7, 64])
async def test_frames_cut_anywhere_make_the_same_stream(cut: int) -> None:
    script = b"".join(events(START, *HELLO, *end("end_turn")))
    pieces = [script[at : at + cut] for at in range(0, len(script), cut)]
    one = await streamed(over(CLAUDE, Scripted(pieces=[script])), chat(stream=True))
    assert await streamed(over(CLAUDE, Scripted(pieces=pieces)), chat(stream=True)) == one


async def test_the_results_of_tools_go_back_to_the_calls_they_answer() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Sunny"},
    ]
    table = over(CLAUDE, message({"type": "text", "text": "Sunny."}))
    await table.ask(chat(messages=turns, tools=[WEATHER]))
    body = sent(table)
    assert body["system"] == "Be brief."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [CALL]
    result = body["messages"][2]["content"][0]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "toolu_1")


async def test_thoughts_and_their_signature_come_back_with_the_next_turn() -> None:
    thought = {"type": "thinking", "thinking": "Rome it is.", "signature": "c2ln"}
    table = over(CLAUDE, message(thought, CALL, stop="tool_use"), message({"type": "text", "text": "Sunny."}))
    _, first = await whole(table, chat(tools=[WEATHER], reasoning_effort="low", max_tokens=4000))
    said = first["choices"][0]["message"]
    assert said["reasoning_content"] == "Rome it is."
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "Sunny"}
    turns = [{"role": "user", "content": "Weather?"}, said, result]
    await table.ask(chat(messages=turns, tools=[WEATHER], reasoning_effort="low", max_tokens=4000))
    assert sent(table)["messages"][1]["content"] == [thought, CALL]


async def test_what_a_target_was_not_told_is_said_in_a_header() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "x"}))
    got, _ = await whole(table, chat(seed=7, prediction={"type": "content", "content": "x"}))
    assert set(got.dropped) == {"seed", "prediction"}
    assert "seed" in answer_headers(got, explain=False)["X-Router-Dropped"]


async def test_a_field_that_cannot_be_said_is_refused_by_name_and_costs_nothing() -> None:
    table = over(CLAUDE, message({"type": "text", "text": "x"}))
    with pytest.raises(UnsupportedFeature) as refused:
        await table.ask(chat(logit_bias={"5": -100}))
    assert refused.value.param == "logit_bias" and "p/m" in refused.value.message
    assert not table.transport.calls and table.entry.cost == 0


async def test_a_refusal_of_the_target_comes_in_the_callers_envelope() -> None:
    told = {"type": "error", "error": {"type": "invalid_request_error", "message": "temperature: too high"}}
    table = over(CLAUDE, Scripted(400, msgspec.json.encode(told)))
    async with table.open(chat()) as got:
        assert got.status == 400
        assert json.loads(got.body or b"")["error"] == {
            "message": "temperature: too high",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": None,
        }


async def test_a_target_that_breaks_its_stream_with_an_error_event_ends_it_with_an_error() -> None:
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO, busy)))
    stream = await streamed(table, chat(stream=True))
    assert b"[DONE]" not in stream and b'"Overloaded"' in stream
    assert table.outcomes == ["server_error"] and table.entry.cost > 0


async def test_a_stream_that_is_cut_never_looks_finished_and_is_paid_for() -> None:
    table = over(CLAUDE, Scripted(pieces=events(START, *HELLO)))
    pieces: list[bytes] = []
    with pytest.raises(UpstreamTruncated):
        await gathered(table, chat(stream=True), pieces)
    assert b"day" in pieces[-1] and b"[DONE]" not in b"".join(pieces)
    usage = table.entry.attempts[0].usage
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (12, 2, True)


@pytest.mark.parametrize("noise", [b"data: {not json\n\n", b'data: "text"\n\n', b"data: 7\n\n"])
async def test_noise_in_the_middle_of_a_stream_is_a_clean_error(noise: bytes) -> None:
    table = over(CLAUDE, Scripted(pieces=[*events(START, *HELLO), noise]))
    with pytest.raises(GatewayError):
        await streamed(table, chat(stream=True))
    assert table.entry.cost > 0


async def test_an_answer_that_is_none_is_a_bad_gateway() -> None:
    table = over(CLAUDE, Scripted(body=b'["no", "answer"]'))
    with pytest.raises(InvalidUpstreamResponse):
        await table.ask(chat())


# -- Messages callers, Chat targets -----------------------------------------------------------------------------


async def test_a_messages_caller_gets_a_message_of_a_chat_target() -> None:
    table = over(COMPATIBLE, answer("Good day"))
    got, body = await whole(table, messages(system="Be brief."))
    told = Message.model_validate(body)
    assert [block.text for block in told.content if block.type == "text"] == ["Good day"]
    assert (told.stop_reason, told.usage.input_tokens, told.usage.output_tokens) == ("end_turn", 10, 5)
    assert table.transport.calls[0].to.url == "http://p.test/v1/chat/completions"
    assert sent(table) == {
        "model": "m",
        "max_tokens": 50,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
    }
    assert got.cost == 10 + 5 * 2


async def test_a_chat_stream_becomes_the_events_of_a_message() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}\n\n'
    table = over(
        COMPATIBLE, Scripted(pieces=[frame("Good "), frame("day"), frame(finish="stop"), usage, b"data: [DONE]\n\n"])
    )
    stream = await streamed(table, messages(stream=True))
    assert sent(table)["stream_options"] == {"include_usage": True}
    names = [name.decode() for name, _ in frames(stream)]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    decoder = ANTHROPIC.stream_decoder()
    said = [event for block in blocks(stream) for event in decoder.feed(block)]
    result = folded([*said, *decoder.close()])
    assert result.choices[0].said == "end_turn"
    assert result.usage is not None and result.usage.output_tokens == 2
    assert table.entry.attempts[0].usage.input_tokens == 10


async def test_the_images_in_a_tools_result_are_shown_behind_it() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [CALL]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Seen"}, image]}
            ],
        },
    ]
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    table = over(COMPATIBLE, answer("A dot."))
    await table.ask(messages(messages=turns, tools=tools))
    _, assistant, result, shown = sent(table)["messages"]
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == "toolu_1"
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}
    assert result["content"] == "Seen"
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]


async def test_a_refusal_of_a_chat_target_comes_in_anthropics_envelope() -> None:
    told = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    table = over(COMPATIBLE, Scripted(404, msgspec.json.encode(told)))
    async with table.open(messages()) as got:
        assert got.status == 404
        body = json.loads(got.body or b"")
    assert body == {"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}


async def test_the_callers_own_headers_stay_with_those_who_speak_its_dialect() -> None:
    table = over(COMPATIBLE, answer())
    told = {"anthropic-beta": "x", "anthropic-version": "2023-06-01", "user-agent": "u"}
    async with table.gateway.open(table.generation, principal(), messages(), Caller("1", "r1"), forwarded=told):
        headers = table.transport.calls[0].headers
    assert headers["user-agent"] == "u" and not {"anthropic-beta", "anthropic-version"} & headers.keys()


COUNTS = ProviderSpec(
    "p", "openai", "http://p.test/v1", apis=frozenset({Api.RESPONSES_COUNT}), translates=frozenset({Api.COUNT_TOKENS})
)
COUNTS_ITSELF = ProviderSpec("p", "anthropic", "http://p.test", apis=frozenset({Api.COUNT_TOKENS}))
BROKEN = Scripted(pieces=[TransportFailure(FailureKind.RESET)], headers={"content-type": "application/json"})


@pytest.mark.parametrize("spec", [COUNTS, COUNTS_ITSELF])
@pytest.mark.parametrize("lost", [Scripted(body=b"[1"), BROKEN])
async def test_a_count_is_free_though_its_answer_is_lost(spec: ProviderSpec, lost: Scripted) -> None:
    table = over(spec, lost)
    asked = parse_request(Api.COUNT_TOKENS, b'{"model":"a","messages":[{"role":"user","content":"hi"}]}')
    with pytest.raises(GatewayError):
        async with table.open(asked):
            pass
    assert table.entry.attempts and table.entry.attempts[0].usage == NOTHING
    assert (table.entry.cost, table.entry.usage.estimated) == (0, False)


@pytest.mark.parametrize("api", sorted(SAID_IN))
def test_every_translation_that_is_planned_with_is_there(api: Api) -> None:
    for spoken in SAID_IN[api]:
        kind = "anthropic" if spoken is Api.MESSAGES else "openai"
        known = ProviderSpec("p", kind, "http://p.test", apis=frozenset({spoken}), translates=frozenset({api}))
        assert bind(known, ScriptedTransport()).lanes[api].spoken is spoken
