"""Recorded traffic of Converse beyond what tests/conformance holds of every chat: blocks, signatures, requests."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import Finish, Opaque, Reasoning, Text, ToolCall
from router.domain.errors import UnsupportedFeature
from router.domain.events import StreamEvent
from router.domain.folding import folded, unfolded
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as MESSAGES_HINTS
from router.providers.bedrock.codec import BEDROCK, EVENT_STREAM
from router.providers.bedrock.eventstream import MessageSplitter, messages, parse_message
from router.providers.bedrock.stream import ConverseDecoder
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.translated import Translated
from tests.providers.bedrock.recordings import EXCHANGES, Recording, recordings, streams
from tests.providers.openai_chat_codec.recordings import recordings as chat_recordings

CHAT = Translated(OPENAI_CHAT, BEDROCK, hints=HINTS, framing=EVENT_STREAM)
MESSAGES = Translated(ANTHROPIC, BEDROCK, hints=MESSAGES_HINTS, framing=EVENT_STREAM)


def answers() -> list[Recording]:
    return [recording for recording in recordings("converse") if recording.status < 300]


def read(stream: bytes, size: int) -> list[StreamEvent]:
    splitter, decoder = MessageSplitter(), ConverseDecoder()
    found: list[StreamEvent] = []
    for at in range(0, len(stream), size):
        for one in messages(splitter.feed(stream[at : at + size])):
            found += decoder.feed(one)
    assert decoder.finished and not decoder.unknown
    return found


def counted(usage: dict[str, int]) -> tuple[int, int, int, int]:
    read_, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    return usage["inputTokens"] + read_ + written, usage["outputTokens"], read_, written


def test_recorded_streams_say_what_their_pieces_say() -> None:
    for recording in streams():
        told = [parse_message(one) for one in messages(recording.body)]
        deltas = [json.loads(one.payload)["delta"] for one in told if one.headers[":event-type"] == "contentBlockDelta"]
        result = folded(read(recording.body, 64))
        parts = result.choices[0].parts
        assert "".join(part.text for part in parts if isinstance(part, Text)) == "".join(d.get("text", "") for d in deltas)
        thoughts = [d["reasoningContent"] for d in deltas if "reasoningContent" in d]
        told_thoughts = [part for part in parts if isinstance(part, Reasoning)]
        assert "".join(p.text for p in told_thoughts) == "".join(t.get("text", "") for t in thoughts)
        assert "".join(p.signature + p.encrypted for p in told_thoughts) == "".join(
            t.get("signature", "") + t.get("redactedContent", "") for t in thoughts
        )
        assert sum(len(part.citations) for part in parts if isinstance(part, Text)) == sum("citation" in d for d in deltas)
        for part in parts:
            if isinstance(part, ToolCall):
                assert isinstance(json.loads(part.arguments), dict), recording.name
        assert result.choices[0].finish is not Finish.UNKNOWN
        usage = [json.loads(one.payload)["usage"] for one in told if one.headers[":event-type"] == "metadata"]
        assert (result.usage is None) == (not usage)
        if result.usage is not None:
            u = result.usage
            assert (u.input_tokens, u.output_tokens, u.cached_input_tokens, u.cache_write_tokens) == counted(usage[-1])


def test_recorded_answers_are_read_whole() -> None:
    for recording in answers():
        told = json.loads(recording.body)
        result = BEDROCK.decode_result(recording.body)
        blocks = [block for block in told["output"]["message"]["content"] if block.keys() - {"type"}]
        parts = result.choices[0].parts
        assert len(parts) == len(blocks), recording.name
        for part, block in zip(parts, blocks, strict=True):
            assert said(part) == next(value for name, value in block.items() if name != "type"), recording.name
        assert result.choices[0].said == told["stopReason"] and result.choices[0].finish is not Finish.UNKNOWN
        usage = result.usage
        assert usage is not None
        assert (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
        ) == counted(told["usage"])
        assert usage.total_tokens == told["usage"]["totalTokens"]
        assert msgspec.json.encode(folded(unfolded(result))) == msgspec.json.encode(result)


def said(part: Any) -> Any:
    """A part of an answer as the value of its block."""
    match part:
        case Text(citations=()):
            return part.text
        case Text():
            told: dict[str, Any] = {"citations": [msgspec.json.decode(c.raw) for c in part.citations]}
            return told | ({"content": [{"text": part.text}]} if part.text else {})
        case Reasoning(encrypted=""):
            return {"reasoningText": {"text": part.text} | ({"signature": part.signature} if part.signature else {})}
        case Reasoning():
            return {"redactedContent": part.encrypted}
        case ToolCall():
            told = {"toolUseId": part.id, "name": part.name, "input": json.loads(part.arguments)}
            return Either(told, told | {"type": "tool_use"})
        case Opaque():
            return msgspec.json.decode(part.raw)[part.kind]
    raise TypeError(part)


class Either:
    def __init__(self, *these: Any) -> None:
        self._these = these

    def __eq__(self, other: object) -> bool:
        return other in self._these

    __hash__ = None  # type: ignore[assignment]  # compared, never kept


# -- asked on -----------------------------------------------------------------------------------------------------


def asked(lane: Translated, api: Api, body: dict[str, Any], model: str) -> bytes | None:
    """The body for Bedrock; None where it was refused, by a name and telling the target."""
    refused: UnsupportedFeature | None = None
    told: bytes | None = None
    try:
        told = lane.translation(parse_request(api, msgspec.json.encode(body)), model, "p/m").body
    except UnsupportedFeature as error:
        refused = error
    assert refused is None or (refused.param and "p/m" in refused.message)
    return told


def recorded_requests() -> list[tuple[Translated, Api, dict[str, Any]]]:
    chats = [(CHAT, Api.CHAT, r.sent) for r in chat_recordings() if r.sent is not None]
    folder = EXCHANGES / "anthropic" / "anthropic.messages"
    told = [json.loads(path.read_text()).get("request") for path in sorted(folder.glob("*.json"))]
    return [*chats, *((MESSAGES, Api.MESSAGES, t["json"]) for t in told if t and t.get("json"))]


@pytest.mark.parametrize(
    "model", ["us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0", "x"]
)
def test_what_is_told_keeps_to_the_service_model_of_botocore(model: str) -> None:
    pytest.importorskip("botocore", reason="botocore is the reference, and is not installed")
    from tests.providers.bedrock.reference import faults

    for lane, api, sent in recorded_requests():
        body = asked(lane, api, sent, model)
        if body is not None:
            assert not faults("ConverseStream", json.loads(body), model), sent


def test_recorded_requests_of_converse_itself_keep_to_it_too() -> None:
    """That the reference is a reference."""
    pytest.importorskip("botocore", reason="botocore is the reference, and is not installed")
    from tests.providers.bedrock.reference import faults

    sent = [r.sent for r in recordings("converse", "converse-stream") if r.sent is not None]
    assert len(sent) > 40 and not any(faults("Converse", body, "m") for body in sent)
    assert faults("Converse", {"messages": [{"role": "user", "content": [{"text": 7}]}]}, "m")
    assert faults("Converse", {"messages": [{"role": "user", "content": [{"texts": "x"}]}]}, "m")
