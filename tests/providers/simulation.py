"""Asking the simulated provider in tests: requests in, decoded answers and stream events out."""

import json
from typing import Any

from router.providers.simulated.exchange import Exchange
from router.providers.simulated.options import parse_options
from router.providers.simulated.provider import Received, Simulator

SECOND = 1_700_000_000
AT_ONCE = {"latency": 0, "tokens_per_second": 0}
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


def simulator(**settings: object) -> Simulator:
    return Simulator(parse_options(AT_ONCE | settings))


def exchange_of(on: Simulator, path: str, body: object, **headers: str) -> Exchange:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return on.answer(Received("POST", path, headers, data, SECOND))


def bytes_of(exchange: Exchange) -> bytes:
    return b"".join(piece.data * piece.times for piece in exchange.pieces)


def ask(path: str, body: object, on: Simulator | None = None) -> dict[str, Any]:
    """The decoded JSON answer."""
    answer: dict[str, Any] = json.loads(bytes_of(exchange_of(on or simulator(), path, body)))
    return answer


def events_of(exchange: Exchange) -> list[dict[str, Any]]:
    """The decoded events of a stream, [DONE] left out."""
    lines = bytes_of(exchange).decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def stream(path: str, body: dict[str, Any], on: Simulator | None = None) -> list[dict[str, Any]]:
    return events_of(exchange_of(on or simulator(), path, {**body, "stream": True}))


def chat(text: str = "How do trains stay on time?", **fields: Any) -> dict[str, Any]:
    return {"model": "simulated-chat", "messages": [{"role": "user", "content": text}], **fields}


def said(events: list[dict[str, Any]], index: int = 0) -> str:
    """The text of one choice of a chat stream."""
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a place",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["location", "unit"],
            "additionalProperties": False,
        },
    },
}
STOCKS: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_stock_price", "parameters": {"type": "object", "properties": {}}},
}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "friends": {"type": "array", "items": {"$ref": "#"}},
        "mood": {"anyOf": [{"type": "null"}, {"const": "glad"}]},
    },
    "required": ["name", "age", "friends", "mood"],
    "additionalProperties": False,
}
