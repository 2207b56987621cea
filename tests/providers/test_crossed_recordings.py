"""Recorded traffic of one dialect told in the other: whole, or refused by name; the other's SDK reads what comes back."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.anthropic import query_in as messages_in
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.sse import frames
from router.providers.translated import Translated, TranslatedMeter, Translation
from tests.providers.openai_chat_codec.recordings import EXCHANGES, recordings

TO_MESSAGES = Translated(OPENAI_CHAT, ANTHROPIC, hints=HINTS)
TO_CHAT = Translated(ANTHROPIC, OPENAI_CHAT, hints=messages_in.HINTS)


def translation(lane: Translated, api: Api, body: dict[str, Any]) -> Translation:
    return lane.translation(parse_request(api, msgspec.json.encode(body)), "m", "p/m")


def any_request(lane: Translated, api: Api) -> Translation:
    return translation(lane, api, {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})


def message_recordings() -> list[dict[str, Any]]:
    folder = EXCHANGES / "anthropic" / "anthropic.messages"
    if not folder.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def streamed(meter: TranslatedMeter, body: bytes) -> bytes:
    out = meter.feed(body)
    return out + meter.close() if meter.finished else out


def is_told(lane: Translated, api: Api, body: dict[str, Any]) -> bool:
    """Whether it is; if not, the refusal names the field and the target."""
    refused: UnsupportedFeature | None = None
    try:
        translation(lane, api, body)
    except UnsupportedFeature as error:
        refused = error
    assert refused is None or (refused.param and "p/m" in refused.message)
    return refused is None


def test_recorded_chat_requests_are_told_as_messages_or_refused_by_name() -> None:
    told = [is_told(TO_MESSAGES, Api.CHAT, recording.sent) for recording in recordings() if recording.sent is not None]
    assert sum(told) > 350 and told.count(False) < 50


def test_recorded_messages_requests_are_told_as_chats_or_refused_by_name() -> None:
    requests = [(recording.get("request") or {}).get("json") for recording in message_recordings()]
    told = [is_told(TO_CHAT, Api.MESSAGES, sent) for sent in requests if sent]
    assert sum(told) > 40 and told.count(False) < 10


def test_recorded_messages_are_read_by_the_openai_sdk() -> None:
    way_back = any_request(TO_MESSAGES, Api.CHAT)
    for recording in message_recordings():
        answer = recording["response"]
        if answer["status"] >= 300:
            continue
        body = answer["body_text"].encode()
        if not recording["stream"]:
            ChatCompletion.model_validate_json(way_back.answer(body, 1)[0], strict=True)
            continue
        meter = way_back.meter(1)
        for _, data in frames(streamed(meter, body)):
            if data != b"[DONE]" and not meter.failed:
                ChatCompletionChunk.model_validate_json(data, strict=True)
        assert meter.finished or meter.failed


def test_recorded_chats_are_read_by_the_anthropic_sdk() -> None:
    way_back = any_request(TO_CHAT, Api.MESSAGES)
    for recording in recordings():
        if recording.status >= 300:
            continue
        if not recording.is_stream:
            Message.model_validate_json(way_back.answer(recording.body, 1)[0])
            continue
        meter = way_back.meter(1)
        names = [name for name, _ in frames(streamed(meter, recording.body))]
        assert names[0] == b"message_start" and (meter.failed or names[-1] == b"message_stop"), recording.name
