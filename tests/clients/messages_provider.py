"""A provider of the Messages API, written by hand: what it answers is as small as its own SDK takes it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from tests.clients.tool_inputs import input_of

USAGE = {"input_tokens": 7, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 5}
Json = dict[str, Any]


class Received(NamedTuple):
    """A request as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: Json


class MessagesProvider:
    """Answers any model. A stream for the model `cut` stops before its end; one for `overloaded` breaks with an error."""

    def __init__(self) -> None:
        self.received: list[Received] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                path = head[0].split(" ")[1]
                self.received.append(Received(path, headers, body))
                status, kind, answer = answer_to(path, body)
                about = (
                    f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {len(answer)}\r\nrequest-id: req_1"
                )
                writer.write(about.encode() + b"\r\n\r\n" + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer_to(path: str, body: Json) -> tuple[int, str, bytes]:
    if path.endswith("/count_tokens"):
        return 200, "application/json", json.dumps({"input_tokens": 12}).encode()
    if body["max_tokens"] < 0:
        error = {"type": "invalid_request_error", "message": "max_tokens: must be greater than or equal to 0"}
        return 400, "application/json", json.dumps({"type": "error", "error": error}).encode()
    blocks, reason = content_for(body)
    if body.get("stream"):
        return 200, "text/event-stream", b"".join(events(body["model"], blocks, reason))
    message = opening(body["model"]) | {"content": blocks, "stop_reason": reason, "usage": USAGE}
    return 200, "application/json", json.dumps(message).encode()


def content_for(body: Json) -> tuple[list[Json], str]:
    """A call of each tool, unless a result has come; else a text, after a thought where one is asked for."""
    last = body["messages"][-1]["content"]
    if body.get("tools") and not (isinstance(last, list) and any(b["type"] == "tool_result" for b in last)):
        return [call(index, tool) for index, tool in enumerate(body["tools"])], "tool_use"
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
    told = '{"name": "Pharos", "height_m": 103}' if "output_config" in body else "The light is on."
    return [*([thought] if "thinking" in body else []), {"type": "text", "text": told}], "end_turn"


def call(index: int, tool: Json) -> Json:
    return {"type": "tool_use", "id": f"toolu_{index}", "name": tool["name"], "input": input_of(tool["input_schema"])}


def opening(model: str) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE | {"output_tokens": 1},
    }


def events(model: str, blocks: list[Json], reason: str) -> Iterator[bytes]:
    yield event("message_start", message=opening(model))
    yield event("ping")
    for index, block in enumerate(blocks):
        empty, kind, text = pieces(block)
        yield event("content_block_start", index=index, content_block=empty)
        name = {"input_json_delta": "partial_json"}.get(kind, kind.removesuffix("_delta"))
        for at in range(0, len(text), 5):
            yield event("content_block_delta", index=index, delta={"type": kind, name: text[at : at + 5]})
        if "signature" in block:
            delta = {"type": "signature_delta", "signature": block["signature"]}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
        if model == "cut":
            return
        if model == "overloaded":
            yield event("error", error={"type": "overloaded_error", "message": "Overloaded"})
            return
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 5})
    yield event("message_stop")


def pieces(block: Json) -> tuple[Json, str, str]:
    """(what the block begins as, the kind of its deltas, their text)."""
    if block["type"] == "tool_use":
        return block | {"input": {}}, "input_json_delta", json.dumps(block["input"])
    if block["type"] == "thinking":
        return block | {"thinking": "", "signature": ""}, "thinking_delta", block["thinking"]
    return block | {"text": ""}, "text_delta", block["text"]


def event(name: str, **members: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()
