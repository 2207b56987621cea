"""What an answer says, read plainly in each dialect's own words: no code under test is used here.

A stream is read into the whole answer it makes, then both are read alike.
"""

import json
from collections.abc import Callable
from typing import Any

from router.domain.requests import Api
from tests.conformance import plain_reading_own as own
from tests.conformance.expected import Counts, Json, events, message_counts, openai_counts, usage_in
from tests.conformance.said import FILTERED, LENGTH, OTHER, PAUSED, STOP, TOOLS, Answer, Call, Said, as_json


def read(api: Api, body: bytes, *, is_stream: bool) -> Answer:
    whole, stream = _READINGS[api]
    return stream(body) if is_stream else whole(json.loads(body))


# -- Chat Completions -----------------------------------------------------------------------------------------

_CHAT_ENDS = {
    "stop": STOP,
    "length": LENGTH,
    "tool_calls": TOOLS,
    "function_call": TOOLS,
    "content_filter": FILTERED,
}


def _chat(answer: Json) -> Answer:
    choices = tuple(_chat_choice([c.get("message") or {}], c.get("finish_reason")) for c in answer["choices"])
    return Answer(choices, _openai_counted([answer]))


def _chat_stream(body: bytes) -> Answer:
    said = list(events(body))
    choices: dict[int, tuple[list[Json], list[str]]] = {}
    for choice in (choice for event in said for choice in event.get("choices") or ()):
        deltas, ends = choices.setdefault(choice.get("index", 0), ([], []))
        deltas.append(choice.get("delta") or {})
        ends += [choice["finish_reason"]] if choice.get("finish_reason") else []
    read_ = tuple(_chat_choice(deltas, ends[-1] if ends else None) for _, (deltas, ends) in sorted(choices.items()))
    return Answer(read_, _openai_counted(said), broken=any(e.get("error") or e.get("type") == "error" for e in said))


def _openai_counted(said: list[Json]) -> Counts | None:
    usage = usage_in(said)
    return openai_counts(usage) if usage else None


def _chat_choice(messages: list[Json], finish: str | None) -> Said:
    """One message, or all the deltas of one."""
    text = thought = ""
    calls: dict[object, list[str]] = {}
    for message in messages:
        content = message.get("content")
        listed: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        for part in listed:
            if part["type"] == "text":
                said = part["text"]
                text += said if isinstance(said, str) else json.dumps(said, separators=(",", ":"))
            elif part["type"] == "thinking":
                thought += "".join(inner["text"] for inner in part["thinking"])
        details = "".join(d.get("text") or d.get("summary") or "" for d in message.get("reasoning_details") or [])
        thought += message.get("reasoning_content") or message.get("reasoning") or details
        text += message.get("refusal") or ""
        text += (message.get("audio") or {}).get("transcript") or ""
        _gather_calls(calls, message)
    told = tuple((name, arguments) for name, arguments in calls.values() if name or arguments)
    return Said(text, thought, told, _chat_end(finish), any(message.get("refusal") for message in messages))


def _gather_calls(calls: dict[object, list[str]], message: Json) -> None:
    """A piece of a call goes to that of its index; one with a new id is a new call."""
    old = message.get("function_call")
    for at, call in enumerate([*(message.get("tool_calls") or []), *([{"function": old}] if old else [])]):
        told = call.get("function") or call.get("custom") or {}
        key = call.get("index", at)
        growing = calls.setdefault(key, ["", ""])
        growing[0] = growing[0] or told.get("name") or ""
        growing[1] += told.get("arguments") or told.get("input") or ""


def _chat_end(finish: str | None) -> str:
    return OTHER if finish is None else _CHAT_ENDS.get(finish, OTHER)


# -- Responses ------------------------------------------------------------------------------------------------


def _responses(answer: Json) -> Answer:
    text = thought = ""
    calls: list[Call] = []
    for item in answer["output"]:
        if item["type"] == "message":
            text += "".join(part.get("text", "") + part.get("refusal", "") for part in item["content"])
        elif item["type"] == "reasoning":
            thought += "".join(part["text"] for part in [*(item["summary"] or ()), *(item.get("content") or ())])
        elif item["type"] in {"function_call", "custom_tool_call"}:
            calls.append((item["name"], item["arguments"] if "arguments" in item else item["input"]))
    reason = (answer.get("incomplete_details") or {}).get("reason")
    ended = {"max_output_tokens": LENGTH, "content_filter": FILTERED}.get(reason or "", OTHER)
    if answer["status"] == "completed":
        ended = TOOLS if calls else STOP
    usage = answer.get("usage")
    refused = any("refusal" in part for item in answer["output"] for part in item.get("content") or ())
    return Answer((Said(text, thought, tuple(calls), ended, refused),), openai_counts(usage) if usage else None)


def _responses_stream(body: bytes) -> Answer:
    said = list(events(body))
    ends = [e for e in said if e.get("type") in {"response.completed", "response.incomplete"}]
    if not ends:
        return Answer((), None, broken=True)
    return _responses(ends[0]["response"])


# -- Messages -------------------------------------------------------------------------------------------------

_MESSAGES_ENDS = {
    "end_turn": STOP,
    "stop_sequence": STOP,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": TOOLS,
    "refusal": FILTERED,
    "pause_turn": PAUSED,
}


def _messages(answer: Json) -> Answer:
    blocks = answer["content"]
    calls = tuple(
        (b["name"], b["input"] if isinstance(b["input"], str) else as_json(b["input"]))
        for b in blocks
        if b["type"] == "tool_use"
    )
    said = Said(
        text="".join(b["text"] for b in blocks if b["type"] == "text")
        + ((answer.get("stop_details") or {}).get("explanation") or ""),
        thought="".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
        calls=calls,
        finish=_MESSAGES_ENDS.get(answer["stop_reason"] or "", OTHER),
        is_refusal=answer["stop_reason"] == "refusal",
    )
    return Answer((said,), message_counts(answer["usage"]))


def _messages_stream(body: bytes) -> Answer:
    said = list(events(body))
    blocks: dict[int, Json] = {}
    ended: Json = {}
    for event in said:
        delta = event.get("delta") or {}
        if event["type"] == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif event["type"] == "content_block_delta":
            block = blocks[event["index"]]
            for name in ("text", "thinking"):
                block[name] = block.get(name, "") + delta.get(name, "") if name in delta else block.get(name, "")
            block["json"] = block.get("json", "") + delta.get("partial_json", "")
        elif event["type"] == "message_delta":
            ended |= delta
    for block in blocks.values():
        if block.get("json"):
            block["input"] = block["json"]
    whole = {"stop_reason": None} | ended | {"content": [blocks[at] for at in sorted(blocks)]}
    broken = any(event["type"] == "error" for event in said)
    return Answer(_messages(whole | {"usage": usage_in(said)}).choices if said else (), _messages_count(said), broken)


def _messages_count(said: list[Json]) -> Counts | None:
    usage = usage_in(said)
    return message_counts(usage) if usage else None


_READINGS: dict[Api, tuple[Callable[[Json], Answer], Callable[[bytes], Answer]]] = {
    Api.CHAT: (_chat, _chat_stream),
    Api.RESPONSES: (_responses, _responses_stream),
    Api.MESSAGES: (_messages, _messages_stream),
    Api.GENERATE_CONTENT: (own.gemini, own.gemini_stream),
    Api.CONVERSE: (own.converse, own.converse_stream),
    Api.COHERE_CHAT: (own.cohere, own.cohere_stream),
    Api.OLLAMA_CHAT: (own.ollama, own.ollama_stream),
}
