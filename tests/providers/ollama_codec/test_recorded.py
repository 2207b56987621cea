"""Every recorded exchange of Ollama's own chat is read without loss, what other dialects have no word for too."""

import json
from datetime import datetime
from typing import Any

from router.domain.chat import ChatResult, Reasoning, Text, ToolCall
from router.domain.folding import folded
from router.domain.usage import Usage
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.ollama.framing import NDJSON
from tests.providers.spoken import Spoken, recorded

OLLAMA = Spoken(OLLAMA_CHAT, NDJSON)
FOLDER = "ollama/ollama.api_chat"


def told(result: ChatResult) -> dict[str, Any]:
    [choice] = result.choices
    return {
        "content": "".join(part.text for part in choice.parts if isinstance(part, Text)),
        "thinking": "".join(part.text for part in choice.parts if isinstance(part, Reasoning)),
        "calls": [(p.id, p.name, json.loads(p.arguments)) for p in choice.parts if isinstance(p, ToolCall)],
        "finish": choice.said,
        "model": result.model,
        "usage": result.usage,
        "created": result.created,
    }


def said(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """A plain reading of the lines of a stream, or of a whole answer as one, independent of the code under test."""
    last = lines[-1]
    messages = [line["message"] for line in lines]
    return {
        "content": "".join(message["content"] for message in messages),
        "thinking": "".join(message.get("thinking", "") for message in messages),
        "calls": [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for message in messages
            for call in message.get("tool_calls", [])
        ],
        "finish": last["done_reason"],
        "model": last["model"],
        "usage": Usage(input_tokens=last["prompt_eval_count"], output_tokens=last["eval_count"]),
        "created": int(datetime.fromisoformat(lines[0]["created_at"][:19] + "+00:00").timestamp()),
    }


def test_whole_answers_are_read_without_loss() -> None:
    seen = 0
    for one in recorded(FOLDER):
        if one.is_stream or one.status >= 300:
            continue
        result = OLLAMA_CHAT.decode_result(one.body)
        assert told(result) == said([json.loads(one.body)]), one.name
        seen += 1
    assert seen == 5


def test_streams_are_read_without_loss() -> None:
    seen = 0
    for one in recorded(FOLDER):
        if not one.is_stream:
            continue
        events = OLLAMA.events(one.body, 1 << 30)
        assert told(folded(events)) == said([json.loads(line) for line in one.body.splitlines()]), one.name
        seen += 1
    assert seen == 2


def test_recorded_errors_are_told() -> None:
    [one] = [one for one in recorded(FOLDER) if one.status >= 300]
    assert OLLAMA_CHAT.decode_error(one.status, one.body).message == "model 'nonexistent-model:latest' not found"
