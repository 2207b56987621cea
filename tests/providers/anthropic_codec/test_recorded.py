"""Recorded traffic through the codec: no cut changes an event, and what goes in comes out with the same meaning."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from msgspec.structs import replace
from pydantic import TypeAdapter

from router.domain.chat import ChatQuery, ChatResult, Family, Opaque
from router.domain.events import StreamEvent, UsageReported
from router.domain.folding import folded, unfolded
from router.domain.requests import Api
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.sse import FrameSplitter, blocks
from tests.conformance.expected import counts_of
from tests.conformance.recordings import ABSENT, Exchange, exchange, names

NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
EVERY = [name for name in names() if name.startswith("anthropic/anthropic.messages/")]
ASKED = [name for name in EVERY if not exchange(name).is_made_up]
ANSWERED = [name for name in EVERY if exchange(name).status == 200]
WHOLE = [name for name in ANSWERED if not exchange(name).is_sse]
STREAMS = [name for name in ANSWERED if exchange(name).is_sse]
REFUSED = [name for name in EVERY if exchange(name).status >= 400]
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
NOTHING_ASKED = ChatQuery(Family.ANTHROPIC, ())


def events_of(stream: bytes, size: int) -> list[StreamEvent]:
    decoder, splitter = ANTHROPIC.stream_decoder(), FrameSplitter()
    found: list[StreamEvent] = []
    for at in range(0, len(stream), size):
        for frame in blocks(splitter.feed(stream[at : at + size])):
            found += decoder.feed(frame)
    for frame in blocks(splitter.end()):
        found += decoder.feed(frame)
    assert decoder.finished
    return [*found, *decoder.close()]


def re_encoded(events: list[StreamEvent]) -> bytes:
    encoder = ANTHROPIC.stream_encoder(NOTHING_ASKED)
    return b"".join([encoder.feed(event) for event in events]) + encoder.close()


def data_of(stream: bytes) -> Iterator[dict[str, Any]]:
    return (json.loads(line[5:]) for line in stream.split(b"\n") if line.startswith(b"data:"))


def known_to_the_sdk(result: ChatResult) -> bool:
    """The advisor's blocks are in no release of the SDK's main types."""
    return not any(
        isinstance(part, Opaque) and part.kind.startswith("advisor") for part in result.choices[0].parts
    ) and not any(isinstance(part, Opaque) and b'"advisor"' in bytes(part.raw) for part in result.choices[0].parts)


def check_usage(of: Exchange, result: ChatResult) -> None:
    wanted, usage = counts_of(of, of.body), result.usage
    assert wanted is not None and usage is not None
    told = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cache_write_tokens)
    assert told == (wanted.input, wanted.output, wanted.cached, wanted.cache_write)
    assert usage.reasoning_tokens == wanted.reasoning


@pytest.mark.parametrize("name", STREAMS or [NONE])
def test_no_cut_changes_an_event_and_the_events_make_the_recorded_answer(name: str) -> None:
    of = exchange(name)
    whole = events_of(of.body, len(of.body))
    assert all(events_of(of.body, size) == whole for size in (1, 7, 64))
    result = folded(whole)
    check_usage(of, result)
    texts = [
        e["delta"].get("text") or e["delta"].get("thinking") or ""
        for e in data_of(of.body)
        if e["type"] == "content_block_delta"
    ]
    assert "".join(getattr(part, "text", "") for part in result.choices[0].parts).startswith("".join(texts))
    assert folded(unfolded(result)) == result


@pytest.mark.parametrize("name", STREAMS or [NONE])
def test_a_stream_written_again_tells_the_same_and_the_sdk_reads_it(name: str) -> None:
    events = events_of(exchange(name).body, 1 << 30)
    again = re_encoded(events)
    result = folded(events)
    assert folded(events_of(again, 1 << 30)) == result
    if known_to_the_sdk(result):
        for event in data_of(again):
            EVENTS.validate_python(event)
    assert isinstance(events[-1], UsageReported)


@pytest.mark.parametrize("name", WHOLE or [NONE])
def test_a_whole_answer_comes_out_as_it_went_in_and_the_sdk_reads_it(name: str) -> None:
    of = exchange(name)
    result = ANTHROPIC.decode_result(of.body)
    check_usage(of, result)
    again = ANTHROPIC.encode_result(result, NOTHING_ASKED)
    assert ANTHROPIC.decode_result(again) == result
    Message.model_validate_json(again)
    given, told = json.loads(of.body), json.loads(again)
    assert [plain(block) for block in told["content"]] == [plain(block) for block in given["content"]]
    assert [told[n] for n in ("id", "model", "role", "type", "stop_reason", "stop_sequence")] == [
        given[n] for n in ("id", "model", "role", "type", "stop_reason", "stop_sequence")
    ]
    assert folded(unfolded(result)) == result
    assert folded(events_of(re_encoded(list(unfolded(result))), 1 << 30)) == result


def plain(block: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing: nulls, and that a tool was called by the model itself."""
    return {k: v for k, v in block.items() if v is not None and (k, v) != ("caller", {"type": "direct"})}


@pytest.mark.parametrize("name", ASKED or [NONE])
def test_a_request_keeps_its_meaning(name: str) -> None:
    of = exchange(name)
    body = json.dumps(of.fields).encode()
    query = ANTHROPIC.decode_query(body)
    encoded = ANTHROPIC.encode_query(query, of.model, "p/m")
    assert normal(json.loads(encoded.body)) == normal(of.fields)
    assert encoded.dropped == ()
    unsaid = replace(query, is_parallel=None if query.is_parallel else query.is_parallel)
    assert ANTHROPIC.decode_query(encoded.body) == unsaid


def normal(fields: dict[str, Any]) -> dict[str, Any]:
    """One of several ways to say the same."""
    nothing: list[tuple[str, Any]] = [("stream", False), ("tools", [])]
    said = {name: value for name, value in fields.items() if value is not None and (name, value) not in nothing}
    said["messages"] = merged(said["messages"])
    if "system" in said:
        said["system"] = listed(said["system"])
    if "output_format" in said:
        said["output_config"] = {"format": said.pop("output_format")} | said.get("output_config", {})
    choice = said.get("tool_choice")
    if choice and choice.get("disable_parallel_tool_use") is False:
        said["tool_choice"] = {n: v for n, v in choice.items() if n != "disable_parallel_tool_use"}
    return said


def merged(messages: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    out: list[tuple[str, list[Any]]] = []
    for message in messages:
        content = listed(message["content"])
        if out and out[-1][0] == message["role"]:
            out[-1][1].extend(content)
        else:
            out.append((message["role"], content))
    return out


def listed(content: Any) -> list[Any]:
    content = [{"type": "text", "text": content}] if isinstance(content, str) else content
    inner = [b | {"content": listed(b["content"])} if b["type"] == "tool_result" and "content" in b else b for b in content]
    return [plain(block) for block in inner]


@pytest.mark.parametrize("name", REFUSED or [NONE])
def test_a_refusal_is_told_in_the_providers_words(name: str) -> None:
    of = exchange(name)
    told, error = ANTHROPIC.decode_error(of.status, of.body), json.loads(of.body)["error"]
    assert (told.message, told.kind) == (error["message"], error["type"])


def test_the_recordings_are_those_of_this_api() -> None:
    if not EVERY:
        pytest.skip(ABSENT)
    assert {exchange(name).api for name in EVERY} == {Api.MESSAGES}
    assert len(EVERY) > 50
