"""Plain readings of what Google, Amazon, Cohere and Ollama answer in words of their own; see plain_reading.py."""

import json
import re

from tests.conformance.expected import Counts, Json, events
from tests.conformance.plain_frames import payloads
from tests.conformance.said import FILTERED, LENGTH, OTHER, STOP, TOOLS, Answer, Said, as_json

# -- generateContent ------------------------------------------------------------------------------------------

_GEMINI_ENDS = {
    "STOP": STOP,
    "MAX_TOKENS": LENGTH,
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), FILTERED),
}


def gemini(answer: Json) -> Answer:
    return _gemini_chunks([answer])


def gemini_stream(body: bytes) -> Answer:
    told = json.loads(body) if body.lstrip().startswith(b"[") else list(events(body))
    return _gemini_chunks(told)


def _gemini_chunks(chunks: list[Json]) -> Answer:
    choices: dict[int, list[Json]] = {}
    for candidate in (candidate for chunk in chunks for candidate in chunk.get("candidates") or ()):
        choices.setdefault(candidate.get("index", 0), []).append(candidate)
    said = [_gemini_choice(told) for _, told in sorted(choices.items())]
    blocked = [] if said else [chunk["promptFeedback"] for chunk in chunks if "promptFeedback" in chunk]
    if blocked:
        said = [Said(blocked[0].get("blockReasonMessage", ""), "", (), FILTERED)]
    ended = blocked or any(one.get("finishReason") for told in choices.values() for one in told)
    usages = [u for chunk in chunks if "promptTokenCount" in (u := chunk.get("usageMetadata") or {})]
    return Answer(tuple(said), _gemini_counts(usages[-1]) if usages else None, broken=not ended)


def _gemini_choice(told: list[Json]) -> Said:
    parts = [part for one in told for part in (one.get("content") or {}).get("parts") or ()]
    calls = tuple(
        (p["functionCall"]["name"], as_json(p["functionCall"].get("args", {}))) for p in parts if "functionCall" in p
    )
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


def converse(answer: Json) -> Answer:
    return _converse_said(answer["output"]["message"]["content"], answer["stopReason"], answer.get("usage"))


def _converse_said(blocks: list[Json], ended: str, usage: Json | None) -> Answer:
    cited = [part for b in blocks for part in b.get("citationsContent", {}).get("content", ())]
    texts = [b["text"] for b in blocks if "text" in b] + [part["text"] for part in cited]
    thoughts = [b["reasoningContent"].get("reasoningText", {}).get("text", "") for b in blocks if "reasoningContent" in b]
    uses = [b["toolUse"] for b in blocks if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"]
    calls = tuple((u["name"], u["input"] if isinstance(u["input"], str) else as_json(u["input"])) for u in uses)
    said = Said("".join(texts), "".join(thoughts), calls, _CONVERSE_ENDS.get(ended, OTHER))
    return Answer((said,), _converse_counts(usage) if usage else None)


def converse_stream(body: bytes) -> Answer:
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


def cohere(answer: Json) -> Answer:
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


def cohere_stream(body: bytes) -> Answer:
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
                message["tool_calls"][event["index"]]["function"]["arguments"] += added["tool_calls"]["function"][
                    "arguments"
                ]
            case "message-end":
                answer |= delta
    return cohere(answer | {"message": message})


# -- Ollama's own ---------------------------------------------------------------------------------------------


def ollama(answer: Json) -> Answer:
    return _ollama_lines([answer])


def ollama_stream(body: bytes) -> Answer:
    return _ollama_lines([json.loads(line) for line in re.split(rb"\r?\n", body) if line])


def _ollama_lines(lines: list[Json]) -> Answer:
    last, messages = lines[-1], [line.get("message") or {} for line in lines]
    functions = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    calls = tuple((f["name"], as_json(f["arguments"])) for f in functions)
    ended = {"stop": TOOLS if calls else STOP, "length": LENGTH}.get(last["done_reason"], OTHER)
    thought = "".join(message.get("thinking", "") for message in messages)
    said = Said("".join(message.get("content", "") for message in messages), thought, calls, ended)
    return Answer((said,), Counts(input=last["prompt_eval_count"], output=last["eval_count"]))
