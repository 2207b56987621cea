"""Providers shaped like Cohere and like Ollama, written by hand: they answer what is asked, and refuse any field that the
real one's own SDK does not have."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Json = dict[str, Any]
COHERE_FIELDS = frozenset(
    "model messages tools strict_tools documents citation_options response_format safety_mode max_tokens stop_sequences"
    " temperature seed frequency_penalty presence_penalty k p logprobs tool_choice thinking priority stream".split()
)
OLLAMA_FIELDS = frozenset("model messages tools format options stream think keep_alive logprobs top_logprobs".split())
PHAROS = '{"name": "Pharos", "height_m": 103}'
_NOW = "2026-08-07T06:08:14.947137Z"


class OwnProvider:
    """Calls each tool once, unless a result has come; else says a text, JSON where a format is asked for, after a thought.
    A stream for the model `cut` stops before its end, one for `broken` says that it has failed."""

    def __init__(self) -> None:
        self.received: list[Json] = []
        self.paths: list[str] = []
        self.origin = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["OwnProvider"]:
        app = web.Application()
        app.router.add_post("/v2/chat", self._cohere)
        app.router.add_post("/api/chat", self._ollama)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _taken(self, request: web.Request, fields: frozenset[str]) -> Json:
        body: Json = await request.json()
        self.received.append(body)
        self.paths.append(request.path)
        wrong = body.keys() - fields
        if wrong:
            raise web.HTTPBadRequest(text=json.dumps({"message": f"unknown field {min(wrong)}"}))
        return body

    async def _cohere(self, request: web.Request) -> web.StreamResponse:
        body = await self._taken(request, COHERE_FIELDS)
        if body["model"] == "long":
            told = {"id": "x", "message": "too many tokens", "error_type": "TOO_MANY_TOKENS"}
            return web.json_response(told, status=400)
        calls = _calls(body)
        usage = {
            "billed_units": {"input_tokens": 7, "output_tokens": 5},
            "tokens": {"input_tokens": 500, "output_tokens": 9},
        }
        if not body.get("stream"):
            content = (
                [] if calls else [{"type": "thinking", "thinking": "Let me see."}, {"type": "text", "text": _text(body)}]
            )
            message = {"role": "assistant", "content": content, "tool_calls": [_cohere_call(*call) for call in calls]}
            reason = "TOOL_CALL" if calls else "COMPLETE"
            return web.json_response({"id": "c1", "message": message, "finish_reason": reason, "usage": usage})
        events = [_event("message-start", id="c1", delta={"message": {"role": "assistant"}})]
        for index, (call_id, name) in enumerate(calls):
            call = _cohere_call(call_id, name)
            arguments = call["function"].pop("arguments")
            call["function"]["arguments"] = ""
            events.append(_added("tool-call-start", index, tool_calls=call))
            events += [_added("tool-call-delta", index, tool_calls={"function": {"arguments": p}}) for p in _cut(arguments)]
            events.append(_event("tool-call-end", index=index))
        if not calls:
            events.append(_added("content-start", 0, content={"type": "thinking", "thinking": ""}))
            events.append(_added("content-delta", 0, content={"thinking": "Let me see."}))
            events.append(_event("content-end", index=0))
            events.append(_added("content-start", 1, content={"type": "text", "text": ""}))
            events += [_added("content-delta", 1, content={"text": piece}) for piece in _cut(_text(body))]
            events.append(_event("content-end", index=1))
        if body["model"] == "broken":
            events.append(_event("message-end", delta={"finish_reason": "ERROR", "error": "it broke"}))
        elif body["model"] != "cut":
            reason = "TOOL_CALL" if calls else "COMPLETE"
            events.append(_event("message-end", delta={"finish_reason": reason, "usage": usage}))
        return await _streamed(request, "text/event-stream", events)

    async def _ollama(self, request: web.Request) -> web.StreamResponse:
        body = await self._taken(request, OLLAMA_FIELDS)
        if body["model"] == "long":
            return web.json_response({"error": "input length exceeds the context length"}, status=400)
        calls = [{"function": {"name": name, "arguments": {"city": "Genoa"}}} for _, name in _calls(body)]
        counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5}
        about = {"model": body["model"], "created_at": _NOW}
        if body.get("stream") is False:
            said = {"tool_calls": calls} if calls else {"thinking": "Let me see.", "content": _text(body)}
            return web.json_response(about | {"message": {"role": "assistant", "content": ""} | said} | counts)
        pieces: list[Json] = [{"tool_calls": calls}] if calls else [{"thinking": "Let me see."}]
        pieces += [] if calls else [{"content": piece} for piece in _cut(_text(body))]
        lines = [about | {"message": {"role": "assistant", "content": ""} | piece, "done": False} for piece in pieces]
        if body["model"] == "broken":
            lines.append({"error": "it broke"})
        elif body["model"] != "cut":
            lines.append(about | {"message": {"role": "assistant", "content": ""}} | counts)
        return await _streamed(request, "application/x-ndjson", [json.dumps(line).encode() + b"\n" for line in lines])


def _calls(body: Json) -> list[tuple[str, str]]:
    """(id, tool) of each call to make."""
    if body["messages"][-1]["role"] == "tool":
        return []
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    return [(f"{name}_{index}", name) for index, name in enumerate(names)]


def _cohere_call(call_id: str, name: str) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"city":"Genoa"}'}}


def _text(body: Json) -> str:
    return PHAROS if body.get("format") or body.get("response_format") else "The light is on."


def _cut(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def _added(kind: str, index: int, **message: Any) -> bytes:
    return _event(kind, index=index, delta={"message": message})


async def _streamed(request: web.Request, media_type: str, pieces: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": media_type})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response
