"""What an answer says, read plainly in each dialect's own words: no code under test is used here.

A stream is read into the whole answer it makes, then both are read alike.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from router.domain.requests import Api
from tests.conformance.expected import Counts, Json, events, message_counts, openai_counts, usage_in
from tests.conformance.plain_frames import payloads

# How a choice ended, in fewer words than any dialect has.
STOP, LENGTH, TOOLS, FILTERED, PAUSED, OTHER = "stop", "length", "tools", "filtered", "paused", "other"

Call = tuple[str, str]
"""A tool's name and its arguments: text as it was written."""


@dataclass(frozen=True)
class Said:
    """One choice. `text` has refusals too."""

    text: str
    thought: str
    calls: tuple[Call, ...]
    finish: str


@dataclass(frozen=True)
class Answer:
    """`counts` None: the provider does not say. `broken`: its stream has an error, or no end."""

    choices: tuple[Said, ...]
    counts: Counts | None
    broken: bool = False


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
    return Said(text, thought, told, _chat_end(finish))


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
    return Answer((Said(text, thought, tuple(calls), ended),), openai_counts(usage) if usage else None)


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
        (b["name"], b["input"] if isinstance(b["input"], str) else _json(b["input"]))
        for b in blocks
        if b["type"] == "tool_use"
    )
    said = Said(
        text="".join(b["text"] for b in blocks if b["type"] == "text") + ((answer.get("stop_details") or {}).get("explanation") or ""),
        thought="".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
        calls=calls,
        finish=_MESSAGES_ENDS.get(answer["stop_reason"] or "", OTHER),
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


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- generateContent ------------------------------------------------------------------------------------------

_GEMINI_ENDS = {
    "STOP": STOP,
    "MAX_TOKENS": LENGTH,
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), FILTERED),
}


def _gemini(answer: Json) -> Answer:
    return _gemini_chunks([answer])


def _gemini_stream(body: bytes) -> Answer:
    told = json.loads(body) if body.lstrip().startswith(b"[") else list(events(body))
    return _gemini_chunks(told)


def _gemini_chunks(chunks: list[Json]) -> Answer:
    choices: dict[int, list[Json]] = {}
    for candidate in (candidate for chunk in chunks for candidate in chunk.get("candidates") or ()):
        choices.setdefault(candidate.get("index", 0), []).append(candidate)
    said = [_gemini_choice(told) for _, told in sorted(choices.items())]
    blocked = [chunk["promptFeedback"] for chunk in chunks if "blockReason" in chunk.get("promptFeedback", {})]
    if not said and blocked:
        said = [Said(blocked[0].get("blockReasonMessage", ""), "", (), FILTERED)]
    ended = blocked or any(one.get("finishReason") for told in choices.values() for one in told)
    usages = [u for chunk in chunks if "promptTokenCount" in (u := chunk.get("usageMetadata") or {})]
    return Answer(tuple(said), _gemini_counts(usages[-1]) if usages else None, broken=not ended)


def _gemini_choice(told: list[Json]) -> Said:
    parts = [part for one in told for part in (one.get("content") or {}).get("parts") or ()]
    calls = tuple((p["functionCall"]["name"], _json(p["functionCall"].get("args", {}))) for p in parts if "functionCall" in p)
    ends = [one["finishReason"] for one in told if one.get("finishReason")]
    ended = _GEMINI_ENDS.get(ends[-1], OTHER) if ends else OTHER
    return Said(
        text="".join(p.get("text", "") for p in parts if not p.get("thought")),
        thought="".join(p.get("text", "") for p in parts if p.get("thought")),
        calls=calls,
        finish=TOOLS if calls and ended == STOP else ended,
    )


def _gemini_counts(usage: Json) -> Counts:
    thought = usage.get("thoughtsTokenCount", 0)
    asked = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
    return Counts(
        input=asked,
        output=usage.get("candidatesTokenCount", 0) + thought,
        cached=usage.get("cachedContentTokenCount", 0),
        reasoning=thought,
        audio_input=_spoken(usage.get("promptTokensDetails")),
        audio_output=_spoken(usage.get("candidatesTokensDetails")),
    )


def _spoken(details: list[Json] | None) -> int:
    return sum(one.get("tokenCount", 0) for one in details or () if one.get("modality") == "AUDIO")


# -- Converse -------------------------------------------------------------------------------------------------

_CONVERSE_ENDS = {
    "end_turn": STOP,
    "stop_sequence": STOP,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": TOOLS,
    "guardrail_intervened": FILTERED,
    "content_filtered": FILTERED,
}


def _converse(answer: Json) -> Answer:
    return _converse_said(answer["output"]["message"]["content"], answer["stopReason"], answer.get("usage"))


def _converse_said(blocks: list[Json], ended: str, usage: Json | None) -> Answer:
    cited = [part for b in blocks for part in b.get("citationsContent", {}).get("content", ())]
    texts = [b["text"] for b in blocks if "text" in b] + [part["text"] for part in cited]
    thoughts = [b["reasoningContent"].get("reasoningText", {}).get("text", "") for b in blocks if "reasoningContent" in b]
    uses = [b["toolUse"] for b in blocks if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"]
    calls = tuple((u["name"], u["input"] if isinstance(u["input"], str) else _json(u["input"])) for u in uses)
    said = Said("".join(texts), "".join(thoughts), calls, _CONVERSE_ENDS.get(ended, OTHER))
    return Answer((said,), _converse_counts(usage) if usage else None)


def _converse_stream(body: bytes) -> Answer:
    blocks: dict[int, Json] = {}
    ended, usage, broken = "", None, False
    for name, told in payloads(body):
        at = told.get("contentBlockIndex", 0)
        match name:
            case "contentBlockStart":
                blocks[at] = {key: value | {"input": ""} for key, value in told["start"].items() if key == "toolUse"}
            case "contentBlockDelta":
                _grow(blocks.setdefault(at, {}), told["delta"])
            case "messageStop":
                ended = told["stopReason"]
            case "metadata":
                usage = told.get("usage")
            case _:
                broken = broken or name.endswith("Exception")
    said = _converse_said([blocks[at] for at in sorted(blocks)], ended, usage)
    return Answer(said.choices, said.counts, broken)


def _grow(block: Json, delta: Json) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    if "reasoningContent" in delta:
        thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
        thought["reasoningText"]["text"] += delta["reasoningContent"].get("text", "")


def _converse_counts(usage: Json) -> Counts:
    cached, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    asked = usage["inputTokens"] + cached + written
    return Counts(input=asked, output=usage["outputTokens"], cached=cached, cache_write=written)


# -- Cohere's chat --------------------------------------------------------------------------------------------

_COHERE_ENDS = {"COMPLETE": STOP, "STOP_SEQUENCE": STOP, "MAX_TOKENS": LENGTH, "TOOL_CALL": TOOLS}


def _cohere(answer: Json) -> Answer:
    message = answer["message"]
    content = message.get("content") or []
    thought = (message.get("tool_plan") or "") + "".join(b.get("thinking", "") for b in content if b["type"] == "thinking")
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    calls = tuple((f["name"], f["arguments"] or "{}") for f in functions)
    text = "".join(b["text"] for b in content if b["type"] == "text")
    units = answer["usage"]["billed_units"]
    told = min(answer["usage"]["tokens"].get("reasoning_tokens", 0), units["output_tokens"])
    counts = Counts(input=units["input_tokens"], output=units["output_tokens"], reasoning=told)
    return Answer((Said(text, thought, calls, _COHERE_ENDS.get(answer["finish_reason"], OTHER)),), counts)


def _cohere_stream(body: bytes) -> Answer:
    message: Json = {"content": [], "tool_plan": "", "tool_calls": []}
    answer: Json = {}
    for event in events(body):
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
                message["tool_calls"][event["index"]]["function"]["arguments"] += added["tool_calls"]["function"]["arguments"]
            case "message-end":
                answer |= delta
    return _cohere(answer | {"message": message})


# -- Ollama's own ---------------------------------------------------------------------------------------------


def _ollama(answer: Json) -> Answer:
    return _ollama_lines([answer])


def _ollama_stream(body: bytes) -> Answer:
    return _ollama_lines([json.loads(line) for line in re.split(rb"\r?\n", body) if line])


def _ollama_lines(lines: list[Json]) -> Answer:
    last, messages = lines[-1], [line.get("message") or {} for line in lines]
    functions = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    calls = tuple((f["name"], _json(f["arguments"])) for f in functions)
    ended = {"stop": TOOLS if calls else STOP, "length": LENGTH}.get(last["done_reason"], OTHER)
    thought = "".join(message.get("thinking", "") for message in messages)
    said = Said("".join(message.get("content", "") for message in messages), thought, calls, ended)
    return Answer((said,), Counts(input=last["prompt_eval_count"], output=last["eval_count"]))


_READINGS: dict[Api, tuple[Callable[[Json], Answer], Callable[[bytes], Answer]]] = {
    Api.CHAT: (_chat, _chat_stream),
    Api.RESPONSES: (_responses, _responses_stream),
    Api.MESSAGES: (_messages, _messages_stream),
    Api.GENERATE_CONTENT: (_gemini, _gemini_stream),
    Api.CONVERSE: (_converse, _converse_stream),
    Api.COHERE_CHAT: (_cohere, _cohere_stream),
    Api.OLLAMA_CHAT: (_ollama, _ollama_stream),
}


def same_arguments(ours: Iterable[Call], theirs: Iterable[Call]) -> bool:
    """Whether these are the same calls: JSON is compared by what it means."""
    return [(name, _meant(arguments)) for name, arguments in ours] == [
        (name, _meant(arguments)) for name, arguments in theirs
    ]


def _meant(arguments: str) -> object:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments
