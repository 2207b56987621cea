"""Every recorded request means the same when it is written again. Answers and streams: tests/conformance."""

import json
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, Family
from router.domain.events import Broken, StreamEvent
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.sse import FrameSplitter, blocks
from tests.providers.openai_chat_codec.recordings import Recording, recordings

QUERY = ChatQuery(Family.CHAT, (), wants_usage=True)


def events_of(body: bytes, cut: int) -> list[StreamEvent]:
    splitter, decoder = FrameSplitter(), OPENAI_CHAT.stream_decoder()
    found: list[StreamEvent] = []
    for at in range(0, len(body), cut):
        for frame in blocks(splitter.feed(body[at : at + cut])):
            found += decoder.feed(frame)
    if rest := splitter.end():
        found += decoder.feed(rest)
    found += decoder.close()
    return found


def streams() -> list[Recording]:
    return [r for r in recordings() if r.status < 300 and r.is_stream]


def test_a_stream_that_its_provider_broke_ends_broken() -> None:
    broken = [r for r in streams() if any(isinstance(event, Broken) for event in events_of(r.body, 1 << 30))]
    assert len(broken) >= 3 or not streams()


def test_requests_mean_the_same_when_they_are_written_again() -> None:
    seen = 0
    for recording in recordings():
        if recording.sent is None or "functions" in recording.sent:
            continue
        query = OPENAI_CHAT.decode_query(msgspec.json.encode(recording.sent))
        encoded = OPENAI_CHAT.encode_query(query, recording.sent.get("model", "m"), "own/m")
        assert not encoded.dropped, recording.name
        again = OPENAI_CHAT.decode_query(encoded.body)
        assert again == query, recording.name
        assert normal(json.loads(encoded.body)) == normal(recording.sent), recording.name
        seen += 1
    assert seen > 350


_VENDORS = (
    "reasoning",
    "reasoning_effort",
    "thinking",
    "enable_thinking",
    "thinking_budget",
    "functions",
    "function_call",
    "clear_thinking",
)


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Two ways to write the same are one: null and absent, a text alone and in a list, the two names of a cap."""
    told = {name: value for name, value in body.items() if not empty(value) and name not in _VENDORS}
    told["cap"] = told.pop("max_completion_tokens", told.pop("max_tokens", None))
    told["seed"] = told.pop("random_seed", told.get("seed"))
    told.pop("stream", None)
    told.pop("model", None)
    if told.get("tool_choice") == "any":
        told["tool_choice"] = "required"
    stop = told.get("stop")
    told["stop"] = [stop] if isinstance(stop, str) else stop
    told["messages"] = [normal_message(message) for message in told["messages"]]
    shape = (told.get("response_format") or {}).get("json_schema")
    if shape is not None:
        told["response_format"]["json_schema"] = {name: value for name, value in shape.items() if not empty(value)}
    if isinstance(told.get("tool_choice"), dict):
        told["tool_choice"] = {"type": "function"} | told["tool_choice"]
    told["tools"] = [normal_tool(tool) for tool in told.get("tools", [])]
    return {name: value for name, value in told.items() if not empty(value)}


def empty(value: object) -> bool:
    return value is None or value in ([], {}, "")


def normal_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    return {"type": "function"} | tool | {"function": {k: v for k, v in function.items() if not empty(v)}}


PLAIN = {"type", "text", "format", "index"}


def normal_message(message: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in message.items() if not empty(value) and (name, value) != ("prefix", False)}
    content = told.pop("content", None)
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else None
    parts = [normal_part(part) for part in content or []]
    mark = told.pop("cache_control", None)
    if mark and parts:
        parts[-1]["cache_control"] = mark
    if "reasoning" in told:
        told["reasoning_content"] = told.pop("reasoning")
    plain = [detail.keys() <= PLAIN and detail["format"] == "unknown" for detail in told.get("reasoning_details", [])]
    if plain and all(plain):
        told["reasoning_content"] = "".join(detail["text"] for detail in told.pop("reasoning_details"))
    if told.get("reasoning_details"):
        told.pop("reasoning_content", None)
        told["reasoning_details"] = [
            detail | {"index": 0} for detail in told["reasoning_details"] if detail.keys() - {"type", "format", "index"}
        ]
    if told["role"] in {"tool", "function"}:
        told.pop("name", None)
    calls = told.get("tool_calls")
    if calls:
        told["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
    return told | ({"content": parts} if parts else {})


def normal_part(part: dict[str, Any]) -> dict[str, Any]:
    part = {name: value for name, value in part.items() if value is not None}
    part = {name: value for name, value in part.items() if name != "text" or part["type"] == "text"}
    if isinstance(part.get("image_url"), str):
        part["image_url"] = {"url": part["image_url"]}
    if part["type"] == "document_url":
        return {"type": "file"}
    if part["type"] == "file" and "file_id" not in part["file"]:
        return {"type": "file"}
    return part


def test_recorded_errors_are_told() -> None:
    seen = 0
    for recording in recordings():
        if recording.status < 400:
            continue
        error = OPENAI_CHAT.decode_error(recording.status, recording.body)
        assert error.message
        if recording.body and b'"message"' in recording.body:
            assert error.message in json.dumps(json.loads(recording.body), ensure_ascii=False).replace('\\"', '"'), (
                recording.name
            )
        seen += 1
    assert seen > 15
