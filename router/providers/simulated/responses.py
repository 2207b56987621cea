"""The Responses API as OpenAI writes it: the response object, and its event sequence with one token to a delta."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from router.providers.simulated.chat import token_logprob
from router.providers.simulated.exchange import Exchange, Frame, json_exchange, stream_exchange, usage_member
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.providers.simulated.reply import Call, Count, Reply, compose, count
from router.providers.simulated.request import Ask, responses_ask
from router.providers.simulated.text import Draws, keywords, tokenize

_ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


@dataclass(frozen=True, slots=True)
class _Spoken:
    """One answered Responses request: the reply and what is echoed around it."""

    body: Mapping[str, Any]
    ask: Ask
    reply: Reply
    used: Count
    fault: FaultKind | None
    seed: int
    created: int

    def name(self, prefix: str, index: int = 0) -> str:
        return prefix + Draws(prefix, index, self.seed, self.ask.key.hex()).hex(48)

    @property
    def is_cut(self) -> bool:
        return self.reply.finish == "length"

    @property
    def status(self) -> str:
        return "incomplete" if self.is_cut else "completed"


def answer_responses(body: Mapping[str, Any], options: SimulateOptions, fault: FaultKind | None, created: int) -> Exchange:
    """Raises BadRequest."""
    ask = responses_ask(body)
    (reply,) = compose(ask, options.seed, options.output_tokens)
    used = count([ask], [reply])
    spoken = _Spoken(body, ask, reply, used, fault, options.seed, created)
    if body.get("stream") is True:
        return stream_exchange(_Events(spoken).frames(), used)
    return json_exchange(_response(spoken, is_done=True), usage=used, visible=reply.visible_tokens)


def _response(spoken: _Spoken, *, is_done: bool) -> dict[str, Any]:
    """The response object: in progress and empty, or finished."""
    body, reply = spoken.body, spoken.reply
    reasoning = body.get("reasoning") or {}
    response: dict[str, Any] = {
        "id": spoken.name("resp_"),
        "object": "response",
        "created_at": spoken.created,
        "status": spoken.status if is_done else "in_progress",
        "completed_at": spoken.created if is_done and not spoken.is_cut else None,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_done and spoken.is_cut else None,
        "model": spoken.ask.model,
        "output": _items(spoken) if is_done else [],
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default" if is_done else "auto",
        "text": _text_settings(body.get("text")),
        "tools": [_tool(tool) for tool in body.get("tools") or ()],
        **{name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()},
    }
    if not is_done:
        return response
    return response | usage_member(Count(spoken.used.input, reply.tokens, reply.reasoning), spoken.fault, responses=True)


def _text_settings(text: object) -> dict[str, Any]:
    given = text if isinstance(text, dict) else {}
    return {"format": {"type": "text"}, "verbosity": "medium", **given}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return dict(tool)
    return {"description": None, "parameters": None, "strict": True, **tool}


def _items(spoken: _Spoken) -> list[dict[str, Any]]:
    items = [_reasoning_item(spoken)] if spoken.reply.reasoning else []
    if spoken.reply.calls:
        return items + [_call_item(spoken, index, call) for index, call in enumerate(spoken.reply.calls)]
    return [*items, _message_item(spoken, [_text_part(spoken, spoken.reply.text)], spoken.status)]


def _reasoning_item(spoken: _Spoken) -> dict[str, Any]:
    summary = _summary(spoken)
    item: dict[str, Any] = {"id": spoken.name("rs_"), "type": "reasoning", "summary": []}
    if summary:
        item["summary"] = [{"type": "summary_text", "text": "".join(summary)}]
    if "reasoning.encrypted_content" in (spoken.body.get("include") or ()):
        item["encrypted_content"] = spoken.name("gAAAA")
    return item


def _summary(spoken: _Spoken) -> tuple[str, ...]:
    """What a caller sees of the reasoning: nothing, or one sentence where it asked for a summary. It costs no tokens."""
    reasoning = spoken.body.get("reasoning")
    if not isinstance(reasoning, dict) or not reasoning.get("summary"):
        return ()
    words = keywords(spoken.ask.question) or ("the request",)
    return tokenize(f"**Weighing {words[0]}** The request is about {' and '.join(words[:2])}, so a short answer will do.")


def _message_item(spoken: _Spoken, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"id": spoken.name("msg_"), "type": "message", "status": status, "content": content, "role": "assistant"}


def _text_part(spoken: _Spoken, tokens: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": _logprobs(spoken, tokens), "text": "".join(tokens)}


def _logprobs(spoken: _Spoken, tokens: tuple[str, ...]) -> list[dict[str, Any]]:
    if "message.output_text.logprobs" not in (spoken.body.get("include") or ()):
        return []
    top = spoken.body.get("top_logprobs")
    return [token_logprob(token, top if isinstance(top, int) else 0) for token in tokens]


def _call_item(spoken: _Spoken, index: int, call: Call, *, is_open: bool = False) -> dict[str, Any]:
    status = "in_progress" if is_open else "completed" if call.complete else "incomplete"
    arguments = "" if is_open else "".join(call.arguments)
    item_id = spoken.name("fc_", index)
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call.id,
        "name": call.name,
    }


class _Events:
    """The events of one streamed response, numbered from 0."""

    def __init__(self, spoken: _Spoken) -> None:
        self._spoken = spoken
        self._sequence = 0

    def frames(self) -> Iterator[Frame]:
        spoken = self._spoken
        opening = _response(spoken, is_done=False)
        yield self._event("response.created", {"response": opening})
        yield self._event("response.in_progress", {"response": opening})
        index = 0
        if spoken.reply.reasoning:
            yield from self._reasoning(index)
            index += 1
        if spoken.reply.calls:
            for offset, call in enumerate(spoken.reply.calls):
                yield from self._call(index + offset, offset, call)
        else:
            yield from self._message(index)
        yield self._event(f"response.{spoken.status}", {"response": _response(spoken, is_done=True)})

    def _event(self, kind: str, fields: Mapping[str, Any], tokens: int = 0) -> Frame:
        data = msgspec.json.encode({"type": kind, **fields, "sequence_number": self._sequence})
        self._sequence += 1
        return Frame(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", tokens)

    def _item(self, stage: str, index: int, item: Mapping[str, Any], tokens: int = 0) -> Frame:
        return self._event(f"response.output_item.{stage}", {"output_index": index, "item": item}, tokens)

    def _reasoning(self, index: int) -> Iterator[Frame]:
        item = _reasoning_item(self._spoken)
        summary = _summary(self._spoken)
        yield self._item("added", index, {**item, "summary": []})
        if summary:
            at = {"item_id": item["id"], "output_index": index, "summary_index": 0}
            text = "".join(summary)
            yield self._event("response.reasoning_summary_part.added", {**at, "part": {"type": "summary_text", "text": ""}})
            for token in summary:
                yield self._event("response.reasoning_summary_text.delta", {**at, "delta": token})
            yield self._event("response.reasoning_summary_text.done", {**at, "text": text})
            yield self._event("response.reasoning_summary_part.done", {**at, "part": {"type": "summary_text", "text": text}})
        yield self._item("done", index, item)

    def _message(self, index: int) -> Iterator[Frame]:
        spoken = self._spoken
        at = {"item_id": spoken.name("msg_"), "output_index": index, "content_index": 0}
        part = _text_part(spoken, spoken.reply.text)
        yield self._item("added", index, _message_item(spoken, [], "in_progress"))
        yield self._event("response.content_part.added", {**at, "part": _text_part(spoken, ())})
        for token in spoken.reply.text:
            logprobs = _logprobs(spoken, (token,))
            yield self._event("response.output_text.delta", {**at, "delta": token, "logprobs": logprobs}, tokens=1)
        yield self._event("response.output_text.done", {**at, "text": part["text"], "logprobs": part["logprobs"]})
        yield self._event("response.content_part.done", {**at, "part": part})
        yield self._item("done", index, _message_item(spoken, [part], spoken.status))

    def _call(self, index: int, offset: int, call: Call) -> Iterator[Frame]:
        opened = _call_item(self._spoken, offset, call, is_open=True)
        closed = _call_item(self._spoken, offset, call)
        at = {"item_id": opened["id"], "output_index": index}
        yield self._item("added", index, opened, tokens=1)
        for token in call.arguments:
            yield self._event("response.function_call_arguments.delta", {**at, "delta": token}, tokens=1)
        done = {**at, "name": call.name, "arguments": closed["arguments"]}
        yield self._event("response.function_call_arguments.done", done)
        yield self._item("done", index, closed)
