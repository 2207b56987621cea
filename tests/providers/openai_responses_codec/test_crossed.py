"""Recorded traffic of other dialects told in this one, and the other way round: the SDKs read what comes back."""

import json
from typing import Any, TypeGuard

import msgspec
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from router.domain.chat import Audio, Part, Text, ToolCall
from router.domain.errors import UnsupportedFeature
from router.domain.folding import folded
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as ANTHROPIC_HINTS
from router.providers.codec import TargetSide
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_chat_codec.query_in import HINTS as CHAT_HINTS
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS
from router.providers.sse import blocks, frames
from router.providers.translated import Translated, TranslatedMeter, Translation
from tests.providers.openai_chat_codec.recordings import recordings as chat_recordings
from tests.providers.openai_responses_codec.recordings import EXCHANGES, Recording, recordings
from tests.providers.openai_responses_codec.sdk import EVENT, gathered

TO_CHAT = Translated(OPENAI_RESPONSES, OPENAI_CHAT, hints=HINTS)
TO_MESSAGES = Translated(OPENAI_RESPONSES, ANTHROPIC, hints=HINTS)
OF_CHAT = Translated(OPENAI_CHAT, OPENAI_RESPONSES, hints=CHAT_HINTS)
OF_MESSAGES = Translated(ANTHROPIC, OPENAI_RESPONSES, hints=ANTHROPIC_HINTS)
ANY: dict[Api, dict[str, Any]] = {
    Api.RESPONSES: {"input": "x"},
    Api.CHAT: {"messages": [{"role": "user", "content": "x"}]},
    Api.MESSAGES: {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
}


def translation(lane: Translated, api: Api, body: dict[str, Any]) -> Translation:
    return lane.translation(parse_request(api, msgspec.json.encode(body)), "m", "p/m")


def is_told(lane: Translated, api: Api, body: dict[str, Any]) -> bool:
    """Whether it is; if not, the refusal names the field and the target."""
    refused: UnsupportedFeature | None = None
    try:
        translation(lane, api, body)
    except UnsupportedFeature as error:
        refused = error
    assert refused is None or (refused.param and "p/m" in refused.message)
    return refused is None


def streamed(meter: TranslatedMeter, body: bytes) -> bytes:
    out = meter.feed(body)
    return out + meter.close() if meter.finished else out


def message_recordings() -> list[dict[str, Any]]:
    folder = EXCHANGES / "anthropic" / "anthropic.messages"
    if not folder.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


# -- requests -----------------------------------------------------------------------------------------------------


def test_recorded_responses_requests_are_told_elsewhere_or_refused_by_name() -> None:
    sent = [recording.sent for recording in recordings() if recording.sent is not None]
    for lane in (TO_CHAT, TO_MESSAGES):
        told = [is_told(lane, Api.RESPONSES, body) for body in sent]
        assert sum(told) > 85 and told.count(False) < 20


def test_recorded_chat_requests_are_told_as_responses_or_refused_by_name() -> None:
    told = [is_told(OF_CHAT, Api.CHAT, recording.sent) for recording in chat_recordings() if recording.sent is not None]
    assert sum(told) > 350 and told.count(False) < 50


def test_recorded_messages_requests_are_told_as_responses_or_refused_by_name() -> None:
    sent = [(recording.get("request") or {}).get("json") for recording in message_recordings()]
    told = [is_told(OF_MESSAGES, Api.MESSAGES, body) for body in sent if body]
    assert sum(told) > 40 and told.count(False) < 10


# -- answers ------------------------------------------------------------------------------------------------------


def is_said(part: Part) -> TypeGuard[Text | Audio]:
    return isinstance(part, Text | Audio)


def check_for_a_responses_caller(lane: Translated, target: TargetSide, body: bytes, *, is_stream: bool, name: str) -> None:
    """What the SDK reads is what the target said."""
    way_back = translation(lane, Api.RESPONSES, ANY[Api.RESPONSES])
    if not is_stream:
        answer, _ = way_back.answer(body, 1)
        read = Response.model_validate_json(answer, strict=True)
        parts = target.decode_result(body).choices[0].parts
    else:
        meter = way_back.meter(1)
        written = streamed(meter, body)
        for _, data in frames(written):
            EVENT.validate_json(data, strict=True)
        if meter.failed:
            assert b'"response.failed"' in written and b"response.completed" not in written
            return
        *_, (name_of_end, end) = frames(written)
        if name_of_end == b"response.completed":
            _, read = gathered(written)
        else:
            read = Response.model_validate(json.loads(end)["response"], strict=True)
            assert (name_of_end, read.status) == (b"response.incomplete", "incomplete")
        decoder = target.stream_decoder()
        events = [event for block in blocks(body) for event in decoder.feed(block)]
        parts = folded([*events, *decoder.close()]).choices[0].parts
    texts = "".join(part.transcript if isinstance(part, Audio) else part.text for part in parts if is_said(part))
    assert read.output_text == texts, name
    calls = [(item.name, item.arguments) for item in read.output if item.type == "function_call"]
    assert calls == [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)], name


def test_recorded_chats_reach_responses_callers_whole() -> None:
    seen = 0
    for recording in chat_recordings():
        if recording.status < 300 and b'"choices"' in recording.body:
            check_for_a_responses_caller(
                TO_CHAT, OPENAI_CHAT, recording.body, is_stream=recording.is_stream, name=recording.name
            )
            seen += 1
    assert seen > 300


def test_recorded_messages_reach_responses_callers_whole() -> None:
    seen = 0
    for recording in message_recordings():
        answer = recording["response"]
        if answer["status"] < 300:
            body = answer["body_text"].encode()
            check_for_a_responses_caller(TO_MESSAGES, ANTHROPIC, body, is_stream=recording["stream"], name="")
            seen += 1
    assert seen == 50


def answered() -> list[Recording]:
    return [recording for recording in recordings() if recording.status < 300]


def test_recorded_responses_are_read_by_the_openai_sdk_as_chats() -> None:
    way_back = translation(OF_CHAT, Api.CHAT, ANY[Api.CHAT])
    for recording in answered():
        if not recording.is_stream:
            ChatCompletion.model_validate_json(way_back.answer(recording.body, 1)[0], strict=True)
            continue
        meter = way_back.meter(1)
        for _, data in frames(streamed(meter, recording.body)):
            if data != b"[DONE]" and not meter.failed:
                ChatCompletionChunk.model_validate_json(data, strict=True)
        assert meter.finished or meter.failed


def test_recorded_responses_are_read_by_the_anthropic_sdk() -> None:
    way_back = translation(OF_MESSAGES, Api.MESSAGES, ANY[Api.MESSAGES])
    for recording in answered():
        if not recording.is_stream:
            Message.model_validate_json(way_back.answer(recording.body, 1)[0])
            continue
        meter = way_back.meter(1)
        names = [name for name, _ in frames(streamed(meter, recording.body))]
        assert names[0] == b"message_start" and (meter.failed or names[-1] == b"message_stop"), recording.name
