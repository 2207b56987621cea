"""What a Chat or a Messages caller asks, in Gemini's words: for the tests of requests."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.errors import UnsupportedFeature
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.gemini.codec import GeminiCodec
from router.providers.gemini.query_out import VERTEX
from router.providers.openai_chat_codec.codec import OPENAI_CHAT

GEMINI = GeminiCodec()
ON_VERTEX = GeminiCodec(VERTEX)
USER = {"role": "user", "content": "Weather?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "time"}}


def told(model: str = "gemini-2.5-flash", codec: GeminiCodec = GEMINI, **body: Any) -> dict[str, Any]:
    return encoded(model, codec, **body)[0]


def encoded(model: str, codec: GeminiCodec = GEMINI, **body: Any) -> tuple[dict[str, Any], set[str]]:
    query = OPENAI_CHAT.decode_query(msgspec.json.encode({"model": "a", "messages": [USER]} | body))
    found = codec.encode_query(query, model, "p/m")
    return json.loads(found.body), set(found.dropped)


def refused(model: str = "gemini-2.5-flash", codec: GeminiCodec = GEMINI, **body: Any) -> str | None:
    with pytest.raises(UnsupportedFeature) as error:
        told(model, codec, **body)
    assert "p/m" in error.value.message
    return error.value.param


def of_messages(model: str = "gemini-2.5-flash", **body: Any) -> dict[str, Any]:
    given = {"model": "a", "max_tokens": 9, "messages": [USER]} | body
    query = ANTHROPIC.decode_query(msgspec.json.encode(given))
    answer: dict[str, Any] = json.loads(GEMINI.encode_query(query, model, "p/m").body)
    return answer


def config(model: str = "gemini-2.5-flash", **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = told(model, **body).get("generationConfig", {})
    return found
