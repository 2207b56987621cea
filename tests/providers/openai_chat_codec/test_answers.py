"""Answers and streams that hardly two servers write alike, read as they are meant; and written for callers of every age."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import (
    Audio,
    ChatQuery,
    ChatResult,
    Choice,
    Family,
    Finish,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    Turn,
)
from router.domain.events import Broken, PartEnded, PartStarted, StreamEvent, UsageReported
from router.domain.folding import folded, unfolded
from router.domain.usage import Usage
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.sse import blocks, frames

QUERY = ChatQuery(Family.CHAT, (Turn(Role.USER, (Text("hi"),)),))


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    option = {"index": 0, "delta": delta or {}, "finish_reason": finish} | more
    return b"data: " + msgspec.json.encode({"id": "c", "model": "m", "choices": [option]}) + b"\n\n"


def call(index: int | None, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in told.items() if value is not None}]}


def read(*pieces: bytes) -> list[StreamEvent]:
    decoder = OPENAI_CHAT.stream_decoder()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [*found, *decoder.close()]


def parts(*pieces: bytes) -> tuple[Any, ...]:
    return folded(read(*pieces)).choices[0].parts


def answered(**message: Any) -> Choice:
    option = {"index": 0, "message": message, "finish_reason": "stop"}
    return OPENAI_CHAT.decode_result(msgspec.json.encode({"id": "c", "model": "m", "choices": [option]})).choices[0]


def rewritten(result: ChatResult, query: ChatQuery = QUERY) -> tuple[bytes, list[dict[str, Any]]]:
    encoder = OPENAI_CHAT.stream_encoder(query)
    stream = b"".join(encoder.feed(event) for event in unfolded(result)) + encoder.close()
    return stream, [json.loads(data) for _, data in frames(stream) if data != b"[DONE]"]


def said(*found: Any, finish: Finish = Finish.STOP, usage: Usage | None = None) -> ChatResult:
    return ChatResult(Family.ANTHROPIC, "msg", "m", (Choice(found, finish),), usage)


# -- reading ----------------------------------------------------------------------------------------------------


def test_calls_beside_one_another_are_told_apart_even_when_their_pieces_mix() -> None:
    mixed = [
        chunk(call(0, '{"a"', "c0", "f")),
        chunk(call(1, '{"b"', "c1", "g")),
        chunk(call(0, ":1}")),
        chunk(call(1, ":2}")),
    ]
    assert parts(*mixed) == (ToolCall("c0", "f", '{"a":1}'), ToolCall("c1", "g", '{"b":2}'))


def test_a_call_ends_when_its_arguments_are_whole_and_the_next_begins() -> None:
    events = read(chunk(call(0, '{"a":1}', "c0", "f")), chunk(call(1, "{}", "c1", "g")), chunk(finish="tool_calls"))
    order = [(type(e), e.index) for e in events if isinstance(e, PartStarted | PartEnded)]
    assert order == [(PartStarted, 0), (PartEnded, 0), (PartStarted, 1), (PartEnded, 1)]


def test_servers_that_count_every_call_as_0_or_none_are_understood() -> None:
    wanted = (ToolCall("c0", "f", "{}"), ToolCall("c1", "g", "{}"))
    assert parts(chunk(call(0, "{}", "c0", "f")), chunk(call(0, "{}", "c1", "g"))) == wanted
    assert parts(chunk(call(None, "{}", "c0", "f")), chunk(call(None, "{}", "c1", "g"))) == wanted


def test_thoughts_end_where_the_text_begins() -> None:
    assert parts(chunk({"reasoning_content": "H"}), chunk({"reasoning": "m"}), chunk({"content": "A"})) == (
        Reasoning("Hm", Family.CHAT),
        Text("A"),
    )


def test_a_signed_thought_keeps_its_signature_and_its_author() -> None:
    detail: dict[str, Any] = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    pieces: list[dict[str, Any]] = [
        {"reasoning": "Hm", "reasoning_details": [detail | {"text": "Hm"}]},
        {"reasoning_details": [detail | {"signature": "s"}]},
    ]
    assert parts(*(chunk(piece) for piece in pieces)) == (Reasoning("Hm", Family.ANTHROPIC, "s"),)


def test_a_forced_call_that_ends_with_stop_has_ended_for_its_tools() -> None:
    assert (
        answered(content=None, tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{}"}}]).finish is Finish.TOOLS
    )
    assert folded(read(chunk(call(0, "{}", "c", "f")), chunk(finish="stop"))).choices[0].finish is Finish.TOOLS
    assert answered(content=None, refusal="No.").finish is Finish.REFUSED


def test_content_comes_as_a_text_as_parts_or_as_the_object_that_was_asked_for() -> None:
    assert answered(content="a").parts == (Text("a"),)
    assert answered(
        content=[{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}, {"type": "text", "text": "a"}]
    ).parts == (
        Reasoning("h", Family.CHAT),
        Text("a"),
    )
    assert answered(content={"a": 1}).parts == (Text('{"a":1}'),)


def test_sound_and_when_it_expires_are_whole() -> None:
    pieces: list[dict[str, Any]] = [
        {"audio": {"id": "a1", "transcript": "be"}},
        {"audio": {"data": "AA"}},
        {"audio": {"transcript": "ep", "expires_at": 9}},
    ]
    assert parts(*(chunk(piece) for piece in pieces)) == (
        Audio(Source(data="AA"), transcript="beep", id="a1", expires_at=9),
    )


def test_usage_counts_what_came_last_and_an_error_ends_everything() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":%d}}\n\n'
    events = read(chunk({"content": "a"}), usage % 1, usage % 4)
    assert [e.usage.output_tokens for e in events if isinstance(e, UsageReported)] == [1, 4]
    broken = read(
        chunk({"content": "a"}), b'event: error\ndata: {"error":{"message":"busy","type":"overloaded","code":503}}\n\n'
    )
    assert broken[-1] == Broken("overloaded", "busy", 503)


@pytest.mark.parametrize(
    ("last", "is_end"),
    [(chunk({"content": "b"}), False), (b"data: [DONE]\r\n\r\n", True), (chunk(finish="stop"), True)],
)
def test_a_stream_is_finished_by_a_reason_or_by_done_and_by_nothing_else(last: bytes, is_end: bool) -> None:
    decoder = OPENAI_CHAT.stream_decoder()
    decoder.feed(chunk({"content": "a"}))
    decoder.feed(last)
    assert decoder.finished is is_end


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error":{}}', b'{"choices":7}', b"\xff"])
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no chat completion"):
        OPENAI_CHAT.decode_result(body)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c","param":"p"}}', "m", "c"),
        (b'{"error":{"message":"m","code":401}}', "m", "401"),
        (b'{"error":"m","error_type":"t"}', "m", None),
        (b'{"detail":"m"}', "m", None),
        (b'{"detail":[{"msg":"m"}]}', "m", None),
        (b'[{"error":{"message":"m"}}]', "m", None),
        (b"m", "m", None),
        (b"", "the provider answered HTTP 400", None),
        (b"7", "the provider answered HTTP 400", None),
    ],
)
def test_errors_are_told_in_whatever_shape_they_come(body: bytes, message: str, code: str | None) -> None:
    told = OPENAI_CHAT.decode_error(400, body)
    assert (told.message, told.code) == (message, code)


# -- writing ----------------------------------------------------------------------------------------------------


def test_a_thought_that_its_author_signed_can_be_sent_back() -> None:
    thought, hidden = Reasoning("Hm.", Family.ANTHROPIC, "sig"), Reasoning("", Family.ANTHROPIC, encrypted="e30=")
    result = said(thought, hidden, Text("A"))
    message = json.loads(OPENAI_CHAT.encode_result(result, QUERY))["choices"][0]["message"]
    request = {"messages": [{"role": "user", "content": "x"}, message]}
    assert OPENAI_CHAT.decode_query(msgspec.json.encode(request)).turns[1].parts == (thought, hidden, Text("A"))
    stream, chunks = rewritten(result)
    assert folded(read(*blocks(stream))).choices[0].parts == (thought, hidden, Text("A"))
    gathered = [detail for one in chunks for c in one["choices"] for detail in c["delta"].get("reasoning_details", [])]
    again = {"messages": [{"role": "assistant", "content": "A", "reasoning_details": gathered}]}
    assert OPENAI_CHAT.decode_query(msgspec.json.encode(again)).turns[0].parts == (thought, hidden, Text("A"))


def test_a_call_without_an_id_gets_the_same_one_in_an_answer_and_in_a_stream() -> None:
    result = said(ToolCall("", "f", "{}"), ToolCall("", "g", "{}"), finish=Finish.TOOLS)
    calls = json.loads(OPENAI_CHAT.encode_result(result, QUERY))["choices"][0]["message"]["tool_calls"]
    _, chunks = rewritten(result)
    begun = [c for one in chunks for c in one["choices"][0]["delta"].get("tool_calls", []) if "id" in c]
    assert [c["id"] for c in begun] == [c["id"] for c in calls]
    assert len({c["id"] for c in calls}) == 2


def test_a_caller_of_functions_gets_a_function_call() -> None:
    legacy = msgspec.structs.replace(QUERY, is_legacy=True)
    result = said(ToolCall("c", "f", '{"a":1}'), finish=Finish.TOOLS)
    choice = json.loads(OPENAI_CHAT.encode_result(result, legacy))["choices"][0]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call" and "tool_calls" not in choice["message"]
    _, chunks = rewritten(result, legacy)
    pieces = [one["choices"][0]["delta"].get("function_call", {}).get("arguments", "") for one in chunks]
    assert "".join(pieces) == '{"a":1}' and chunks[-1]["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        (Finish.STOP_SEQUENCE, "stop"),
        (Finish.CONTEXT, "length"),
        (Finish.TOOLS, "tool_calls"),
        (Finish.REFUSED, "content_filter"),
        (Finish.FILTERED, "content_filter"),
    ],
)
def test_every_end_has_its_word(finish: Finish, word: str) -> None:
    assert (
        json.loads(OPENAI_CHAT.encode_result(said(Text("x"), finish=finish), QUERY))["choices"][0]["finish_reason"] == word
    )


def test_the_usage_ends_a_stream_only_where_it_was_asked_for() -> None:
    result = said(Text("x"), usage=Usage(5, 2, cached_input_tokens=1, reasoning_tokens=1))
    _, plain = rewritten(result)
    assert all("usage" not in one for one in plain)
    _, asked = rewritten(result, msgspec.structs.replace(QUERY, wants_usage=True))
    assert [one["usage"] for one in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["choices"] == [] and asked[-1]["usage"]["total_tokens"] == 7
    assert asked[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 1


def test_the_first_chunk_of_each_choice_names_the_role() -> None:
    two = ChatResult(Family.CHAT, "c", "m", (Choice((Text("a"),), Finish.STOP), Choice((Refusal("b"),), Finish.REFUSED)))
    _, chunks = rewritten(two)
    roles = [(one["choices"][0]["index"], one["choices"][0]["delta"].get("role")) for one in chunks]
    assert [index for index, role in roles if role] == [0, 1]
