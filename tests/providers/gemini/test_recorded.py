"""Recorded traffic of Google's beyond what tests/conformance holds of every chat: signatures, filters, errors."""

import json
from collections.abc import Iterator

import pytest

from router.domain.chat import ChatResult, Finish, Opaque, ToolCall
from router.domain.events import StreamEvent
from router.domain.folding import folded
from router.domain.usage import Usage
from router.providers.gemini.codec import CLAUDE_ON_VERTEX, GeminiCodec
from router.providers.sse import FrameSplitter, blocks
from tests.providers.gemini.recordings import EXCHANGES, Recording, recordings

GEMINI = GeminiCodec()
# Made by hand by Firebase's own tests: a candidate without content, which is neither whole nor refused.


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def events_of(recording: Recording, size: int) -> tuple[list[StreamEvent], bool]:
    decoder = GEMINI.stream_decoder()
    events: list[StreamEvent] = []
    if recording.is_array:
        for piece in pieces(recording.body, size):
            events += decoder.feed(piece)
    else:
        splitter = FrameSplitter()
        whole = b"".join([*map(splitter.feed, pieces(recording.body, size)), splitter.end()])
        for block in blocks(whole):
            events += decoder.feed(block)
    finished = decoder.finished
    return [*events, *decoder.close()], finished


def result_of(recording: Recording) -> ChatResult:
    if not recording.is_stream:
        return GEMINI.decode_result(recording.body)
    return folded(events_of(recording, len(recording.body))[0])


def answered() -> list[Recording]:
    return [recording for recording in recordings() if recording.status < 300]


def test_every_part_that_is_told_is_there() -> None:
    for recording in answered():
        parts = [part for choice in result_of(recording).choices for part in choice.parts]
        calls = [part for part in parts if isinstance(part, ToolCall)]
        assert len(calls) == recording.body.count(b'"functionCall"'), recording.name
        assert len({call.id for call in calls}) == len(calls) and all(call.id and call.name for call in calls)
        for call in calls:
            assert isinstance(json.loads(call.arguments), dict)
        hosted = [part for part in parts if isinstance(part, Opaque)]
        assert len(hosted) == recording.body.count(b'"toolCall"') + recording.body.count(b'"toolResponse"'), recording.name
        signatures = sum(bool(getattr(part, "signature", "")) for part in parts) + len(
            [part for part in hosted if b"thoughtSignature" in bytes(part.raw)]
        )
        assert signatures == recording.body.count(b'"thoughtSignature"'), recording.name


def test_blocked_prompts_and_answers_are_filtered() -> None:
    filtered = [
        r for r in answered() if b"SAFETY" in r.body.replace(b"HARM", b"") and b'"finishReason": "STOP"' not in r.body
    ]
    told = {
        result_of(r).choices[0].finish for r in filtered if b"blockReason" in r.body or b'"finishReason": "SAFETY"' in r.body
    }
    assert told == {Finish.FILTERED}


def test_errors_are_told_in_common_words() -> None:
    refused = [recording for recording in recordings() if recording.status >= 300]
    assert len(refused) >= 9
    for recording in refused:
        error = json.loads(recording.body)["error"]
        told = GEMINI.decode_error(recording.status, recording.body)
        assert told.message == error["message"] and told.kind and told.code, recording.name
        if b"RetryInfo" in recording.body:
            assert told.retry_after_s in (34.4, 48.0)


def test_claude_on_vertex_answers_as_anthropic_does() -> None:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    found = recordings("rawPredict", "streamRawPredict") + [
        Recording(path) for path in sorted((EXCHANGES / "vertex").glob("vertex_anthropic.*/*.json"))
    ]
    assert len(found) == 6
    for recording in found:
        if recording.is_stream:
            decoder = CLAUDE_ON_VERTEX.stream_decoder()
            result = folded([event for block in blocks(recording.body) for event in decoder.feed(block)])
            assert decoder.finished
        else:
            result = CLAUDE_ON_VERTEX.decode_result(recording.body)
        assert result.id.startswith("msg_vrtx_") and isinstance(result.usage, Usage)
