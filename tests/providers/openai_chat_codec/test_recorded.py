"""Every recorded request, answer and stream is read without loss and written again."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from router.domain.chat import ChatQuery, ChatResult, Family, Finish, Reasoning, Refusal, Text, ToolCall
from router.domain.events import Broken, StreamEvent
from router.domain.folding import Fold, folded, unfolded
from router.providers.openai_chat import CHAT, ChatMeter
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.sse import FrameSplitter, blocks, frames
from tests.providers.openai_chat_codec.recordings import Recording, recordings

QUERY = ChatQuery(Family.CHAT, (), wants_usage=True)
CUTS = (1, 7, 64, 1 << 30)


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


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in frames(body) if data != b"[DONE]"]


def said(messages: list[dict[str, Any]]) -> dict[str, str]:
    """A plain reading of what one choice said, independent of the code under test."""
    found = {"content": "", "reasoning": "", "refusal": "", "arguments": ""}
    for message in messages:
        content = message.get("content")
        listed: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        for part in listed:
            if part["type"] == "text":
                text = part["text"]
                found["content"] += text if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
            else:
                found["reasoning"] += "".join(inner["text"] for inner in part["thinking"])
        details = "".join(detail.get("text") or "" for detail in message.get("reasoning_details") or [])
        found["reasoning"] += message.get("reasoning_content") or message.get("reasoning") or details
        found["refusal"] += message.get("refusal") or ""
        for call in message.get("tool_calls") or []:
            found["arguments"] += call["function"].get("arguments") or ""
        found["arguments"] += (message.get("function_call") or {}).get("arguments") or ""
    return found


def told(result: ChatResult, choice: int) -> dict[str, str]:
    parts = result.choices[choice].parts
    return {
        "content": "".join(p.text for p in parts if isinstance(p, Text)),
        "reasoning": "".join(p.text for p in parts if isinstance(p, Reasoning)),
        "refusal": "".join(p.text for p in parts if isinstance(p, Refusal)),
        "arguments": "".join(p.arguments for p in parts if isinstance(p, ToolCall)),
    }


def whole_answers() -> list[Recording]:
    return [r for r in recordings() if r.status < 300 and not r.is_stream]


def streams() -> list[Recording]:
    return [r for r in recordings() if r.status < 300 and r.is_stream]


def test_whole_answers_are_read_and_written_without_loss() -> None:
    seen = 0
    for recording in whole_answers():
        result = OPENAI_CHAT.decode_result(recording.body)
        answer = json.loads(recording.body)
        for number, choice in enumerate(answer["choices"]):
            assert told(result, number) == said([choice["message"]]), recording.name
        assert result.usage == CHAT.usage_of(recording.body), recording.name
        again = OPENAI_CHAT.encode_result(result, QUERY)
        ChatCompletion.model_validate_json(again, strict=True)
        written = json.loads(again)
        for number, choice in enumerate(answer["choices"]):
            assert said([written["choices"][number]["message"]]) == said([choice["message"]]), recording.name
            ours, theirs = written["choices"][number]["finish_reason"], choice.get("finish_reason")
            assert ours == theirs or theirs not in {"stop", "length", "tool_calls", "content_filter"}, recording.name
        assert folded(unfolded(result)) == result
        seen += 1
    assert seen > 200


@pytest.mark.timeout(240)
def test_streams_are_read_alike_however_they_are_cut_and_written_without_loss() -> None:
    seen = 0
    for recording in streams():
        events = events_of(recording.body, 1 << 30)
        for cut in CUTS[:-1]:
            assert events_of(recording.body, cut) == events, (recording.name, cut)
        fold = Fold()
        for event in events:
            fold.feed(event)
        if fold.broken is not None:
            assert b"error" in recording.body
            continue
        result = fold.result()
        chunks = chunks_of(recording.body)
        indexes = sorted({c.get("index", 0) for chunk in chunks for c in chunk.get("choices") or []})
        for number, index in enumerate(indexes):
            deltas = [
                choice.get("delta") or {}
                for chunk in chunks
                for choice in chunk.get("choices") or []
                if choice.get("index", 0) == index
            ]
            assert told(result, number) == said(deltas), recording.name
        meter = ChatMeter(len(indexes), hides_usage=False)
        meter.feed(recording.body)
        assert result.usage == meter.usage, recording.name
        check_written(events, result, recording.name)
        seen += 1
    assert seen > 100


def check_written(events: list[StreamEvent], result: ChatResult, name: str) -> None:
    """What is written is what the SDK knows, and reads as the same answer."""
    encoder = OPENAI_CHAT.stream_encoder(QUERY)
    written = b"".join(encoder.feed(event) for event in events) + encoder.close()
    assert written.endswith(b"data: [DONE]\n\n")
    for chunk in chunks_of(written):
        ChatCompletionChunk.model_validate(chunk, strict=True)
    again = folded(events_of(written, 1 << 30))
    for number, choice in enumerate(result.choices):
        assert told(again, number) == told(result, number), name
        assert choice.finish in {again.choices[number].finish, Finish.UNKNOWN}, name
        ids = [part.id for part in again.choices[number].parts if isinstance(part, ToolCall)]
        assert all(ids) and len(set(ids)) == len(ids), name
    if result.usage is not None and not result.usage.estimated:
        assert again.usage is not None and again.usage.total_tokens == result.usage.total_tokens, name


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
