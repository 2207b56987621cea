"""Every recorded exchange of Cohere's chat is read without loss, what other dialects have no word for too."""

import json
from typing import Any

from router.domain.chat import ChatResult, Opaque, Reasoning, Text, ToolCall
from router.domain.folding import folded
from router.domain.usage import Usage
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.sse import frames
from tests.providers.spoken import Spoken, recorded

COHERE = Spoken(COHERE_CHAT)
FOLDER = "cohere/cohere.v2_chat"


def told(result: ChatResult) -> dict[str, Any]:
    [choice] = result.choices
    texts = [part for part in choice.parts if isinstance(part, Text)]
    assert not any(isinstance(part, Opaque) for part in choice.parts)
    return {
        "text": [part.text for part in texts],
        "thinking": "".join(p.text for p in choice.parts if isinstance(p, Reasoning) and p.signature == "thinking"),
        "plan": "".join(p.text for p in choice.parts if isinstance(p, Reasoning) and p.signature == "tool_plan"),
        "calls": [(p.id, p.name, p.arguments) for p in choice.parts if isinstance(p, ToolCall)],
        "cited": [json.loads(bytes(citation.raw)) for part in texts for citation in part.citations],
        "finish": choice.said,
    }


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """A plain reading of a whole answer, independent of the code under test."""
    message = answer["message"]
    content = message.get("content") or []
    return {
        "text": [block["text"] for block in content if block["type"] == "text"],
        "thinking": "".join(block["thinking"] for block in content if block["type"] == "thinking"),
        "plan": message.get("tool_plan") or "",
        "calls": [
            (c["id"], c["function"]["name"], c["function"]["arguments"] or "{}") for c in message.get("tool_calls") or []
        ],
        "cited": message.get("citations") or [],
        "finish": answer["finish_reason"],
    }


def gathered(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer that a stream makes, read plainly."""
    answer: dict[str, Any] = {"message": {"content": [], "tool_plan": "", "tool_calls": [], "citations": []}}
    message = answer["message"]
    for event in events:
        delta = event.get("delta") or {}
        added = delta.get("message") or {}
        match event["type"]:
            case "content-start":
                message["content"].append(added["content"])
            case "content-delta":
                for name, text in added["content"].items():
                    message["content"][event["index"]][name] += text
            case "tool-plan-delta":
                message["tool_plan"] += added["tool_plan"]
            case "tool-call-start":
                message["tool_calls"].append(added["tool_calls"])
            case "tool-call-delta":
                arguments = added["tool_calls"]["function"]["arguments"]
                message["tool_calls"][event["index"]]["function"]["arguments"] += arguments
            case "citation-start":
                message["citations"].append(added["citations"])
            case "message-end":
                answer |= delta
    return answer


def billed(usage: dict[str, Any]) -> Usage:
    units = usage["billed_units"]
    thought = min(usage["tokens"].get("reasoning_tokens", 0), units["output_tokens"])
    return Usage(input_tokens=units["input_tokens"], output_tokens=units["output_tokens"], reasoning_tokens=thought)


def test_whole_answers_are_read_without_loss() -> None:
    seen = 0
    for one in recorded(FOLDER):
        if one.is_stream or one.status >= 300:
            continue
        result, answer = COHERE_CHAT.decode_result(one.body), json.loads(one.body)
        assert told(result) == said(answer), one.name
        assert result.usage == billed(answer["usage"]), one.name
        seen += 1
    assert seen == 28


def test_streams_are_read_without_loss() -> None:
    seen = 0
    for one in recorded(FOLDER):
        if not one.is_stream:
            continue
        events = COHERE.events(one.body, 1 << 30)
        answer = gathered([json.loads(data) for _, data in frames(one.body) if data != b"[DONE]"])
        result = folded(events)
        assert told(result) == said(answer), one.name
        assert result.usage == billed(answer["usage"]), one.name
        seen += 1
    assert seen == 15


def test_recorded_errors_are_told() -> None:
    [one] = [one for one in recorded(FOLDER) if one.status >= 300]
    error = COHERE_CHAT.decode_error(one.status, one.body)
    assert error.code == "TOO_MANY_TOKENS" and error.message.startswith("too many tokens")
