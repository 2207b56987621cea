"""Recorded answers and streams of the Gemini API and of Vertex: whole, however they are cut, and told to each caller."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from router.domain.chat import ChatResult, Finish, Opaque, ToolCall
from router.domain.events import StreamEvent
from router.domain.folding import folded, unfolded
from router.domain.requests import Api, parse_request
from router.domain.routes import ProviderSpec
from router.domain.usage import Usage
from router.providers.gemini.codec import CLAUDE_ON_VERTEX, GeminiCodec
from router.providers.lanes import lane_of
from router.providers.openai_chat_codec.accents import COMPATIBLE
from router.providers.sse import FrameSplitter, blocks, frames
from router.providers.translated import Translated, Translation
from tests.providers.gemini.recordings import EXCHANGES, Recording, recordings

GEMINI = GeminiCodec()
SPEC = ProviderSpec("p", "gemini", "https://p.test", apis=frozenset({Api.GENERATE_CONTENT}))
CHAT = {
    "model": "a",
    "messages": [{"role": "user", "content": "x"}],
    "stream_options": {"include_usage": True},
    "stream": True,
}
MESSAGES = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
# Made by hand by Firebase's own tests: a candidate without content, which is neither whole nor refused.
UNFINISHED = {"empty-content", "malformed-content"}


def way_back(api: Api, body: dict[str, Any]) -> Translation:
    lane = lane_of(api, SPEC, COMPATIBLE)
    assert isinstance(lane.translated, Translated)
    return lane.translated.translation(parse_request(api, msgspec.json.encode(body)), "gemini-2.5-flash", "p/m")


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


def test_a_stream_is_the_same_however_it_is_cut() -> None:
    streams = [recording for recording in answered() if recording.is_stream]
    assert len(streams) > 35
    for recording in streams:
        whole, finished = events_of(recording, len(recording.body))
        assert finished or any(word in recording.name for word in UNFINISHED), recording.name
        for size in (1, 2, 3, 7, 64, 1460):
            assert events_of(recording, size) == (whole, finished), recording.name


def test_an_answer_is_what_its_events_make() -> None:
    for recording in answered():
        result = result_of(recording)
        assert result.family == "gemini" and result.choices, recording.name
        again = folded(unfolded(result))
        assert again == result, recording.name


def test_the_usage_is_what_the_provider_counted() -> None:
    """The last chunk's total, of which the thoughts are output and what tools read is input."""
    for recording in answered():
        usages = recording.usages
        usage = result_of(recording).usage
        if not usages:
            assert usage is None, recording.name
            continue
        last = usages[-1]
        assert usage is not None
        assert usage.total_tokens == last["totalTokenCount"], recording.name
        assert usage.reasoning_tokens == last.get("thoughtsTokenCount", 0)
        assert usage.cached_input_tokens == last.get("cachedContentTokenCount", 0)
        assert usage.input_tokens == last["promptTokenCount"] + last.get("toolUsePromptTokenCount", 0)
        assert not usage.suspect and not usage.estimated


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


@pytest.mark.parametrize("api", [Api.CHAT, Api.MESSAGES])
def test_each_callers_sdk_reads_what_comes_back(api: Api) -> None:
    back = way_back(api, CHAT if api is Api.CHAT else MESSAGES)
    for recording in answered():
        if not recording.is_stream:
            body = back.answer(recording.body, 1)[0]
            (ChatCompletion if api is Api.CHAT else Message).model_validate_json(body)
        elif not recording.is_array:
            meter = back.meter(1)
            stream = b"".join(map(meter.feed, blocks(recording.body)))
            stream += meter.close() if meter.finished else b""
            assert_told(api, stream, is_whole=meter.finished)


def assert_told(api: Api, stream: bytes, *, is_whole: bool) -> None:
    told = list(frames(stream))
    if api is Api.MESSAGES:
        assert told[0][0] == b"message_start" and is_whole == (told[-1][0] == b"message_stop")
        return
    assert is_whole == stream.endswith(b"data: [DONE]\n\n")
    for _, data in told[: len(told) - is_whole]:
        ChatCompletionChunk.model_validate_json(data, strict=True)


def test_responses_callers_get_a_response() -> None:
    back = way_back(Api.RESPONSES, {"model": "a", "input": "x"})
    for recording in answered():
        if not recording.is_stream:
            Response.model_validate_json(back.answer(recording.body, 1)[0])


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
