"""The same short answer as every dialect streams it, frame by frame, and what may happen to it on its way."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from router.domain.requests import Api
from tests.providers.bedrock.event_writer import event as converse_event
from tests.providers.bedrock.event_writer import exception as converse_exception

WORDS = ("Grüße ", "☃ and 𝄞", " to you")
TEXT = "".join(WORDS)


class Spoken(msgspec.Struct, frozen=True):
    """`frames` in order; `unknown` is an event of a type nobody knows, `block` one of content nobody knows, `error` the
    dialect's own, `noise` a whole frame that is none. Behind `ends` frames the answer is known to be whole."""

    provider_type: str
    frames: tuple[bytes, ...]
    unknown: tuple[bytes, ...]
    block: tuple[bytes, ...]
    error: bytes
    noise: tuple[bytes, ...]
    ends: int
    media_type: str = "text/event-stream"


def named(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {_text({'type': kind} | members)}\n\n".encode()


def plain(body: Any) -> bytes:
    return f"data: {_text(body)}\n\n".encode()


def _text(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)


def _chat() -> Spoken:
    def chunk(delta: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return plain({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    frames = (chunk({"role": "assistant", "content": ""}), *(chunk({"content": w}) for w in WORDS), chunk({}, "stop"))
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return Spoken(
        "openai-compatible",
        (*frames, plain({"id": "c1", "choices": [], "usage": usage}), b"data: [DONE]\n\n"),
        (plain({"id": "c1", "object": "chat.something", "choices": []}), named("unheard", x=1)),
        (chunk({"holograms": [{"depth": 3}]}),),
        plain({"error": {"message": "broke", "type": "server_error", "code": 500}}),
        (b"data: {not json\n\n", b"data: 7\n\n", b'data: {"choices": 7}\n\n'),
        5,
    )


def _messages() -> Spoken:
    def delta(word: str) -> bytes:
        return named("content_block_delta", index=0, delta={"type": "text_delta", "text": word})

    usage = {"input_tokens": 10, "output_tokens": 1}
    head = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    hologram = {"type": "hologram", "depth": 3}
    return Spoken(
        "anthropic",
        (
            named("message_start", message=head),
            named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *map(delta, WORDS),
            named("content_block_stop", index=0),
            named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
            named("message_stop"),
        ),
        (named("unheard", x=1), named("ping")),
        (
            named("content_block_start", index=1, content_block=hologram),
            named("content_block_delta", index=1, delta={"type": "hologram_delta", "x": 1}),
            named("content_block_stop", index=1),
        ),
        named("error", error={"type": "overloaded_error", "message": "broke"}),
        (b"data: {not json\n\n", b"data: 7\n\n", b'data: {"type": "content_block_delta", "index": 99}\n\n'),
        8,
    )


def _responses() -> Spoken:
    item = {"id": "i1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    part = {"type": "output_text", "annotations": [], "text": ""}
    whole = item | {"status": "completed", "content": [part | {"text": TEXT}]}
    usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    head = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}
    at = {"item_id": "i1", "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": head}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.content_part.added", at | {"part": part}),
        *(("response.output_text.delta", at | {"delta": word}) for word in WORDS),
        ("response.output_text.done", at | {"text": TEXT}),
        ("response.content_part.done", at | {"part": part | {"text": TEXT}}),
        ("response.output_item.done", {"output_index": 0, "item": whole}),
        ("response.completed", {"response": head | {"status": "completed", "output": [whole], "usage": usage}}),
    ]
    return Spoken(
        "openai",
        tuple(named(kind, sequence_number=number, **members) for number, (kind, members) in enumerate(told)),
        (named("response.unheard", sequence_number=4), named("unheard", x=1)),
        (named("response.output_item.added", output_index=1, item={"id": "h1", "type": "hologram", "depth": 3}),),
        named("error", code="server_error", message="broke", param=None, sequence_number=5),
        (b"data: {not json\n\n", b"data: 7\n\n"),
        len(told),
    )


def _generate_content() -> Spoken:
    def chunk(parts: Any, **more: Any) -> bytes:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0} | more
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13}
        return plain({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"})

    return Spoken(
        "gemini",
        (*(chunk([{"text": word}]) for word in WORDS[:-1]), chunk([{"text": WORDS[-1]}], finishReason="STOP")),
        (plain({"responseId": "r1", "modelVersion": "m"}), named("unheard", x=1)),
        (chunk([{"hologram": {"depth": 3}}]),),
        plain({"error": {"code": 503, "status": "UNAVAILABLE", "message": "broke"}}),
        (b"data: {not json\n\n", b"data: 7\n\n", b'data: {"candidates": 7}\n\n'),
        3,
    )


def _converse() -> Spoken:
    def delta(word: str) -> bytes:
        return converse_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}})

    usage = {"inputTokens": 10, "outputTokens": 3, "totalTokens": 13}
    broken = bytearray(delta("x"))
    broken[-6] ^= 0xFF
    return Spoken(
        "bedrock",
        (
            converse_event("messageStart", {"role": "assistant"}),
            *map(delta, WORDS),
            converse_event("contentBlockStop", {"contentBlockIndex": 0}),
            converse_event("messageStop", {"stopReason": "end_turn"}),
            converse_event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
        ),
        (converse_event("unheard", {"x": 1}),),
        (converse_event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"hologram": {"depth": 3}}}),),
        converse_exception("modelStreamErrorException", {"message": "broke"}),
        (bytes(broken), converse_event("contentBlockDelta", {"contentBlockIndex": "x"})),
        6,
        "application/vnd.amazon.eventstream",
    )


def _cohere() -> Spoken:
    def content(kind: str, index: int = 0, **more: Any) -> bytes:
        return named(kind, index=index, **({"delta": {"message": {"content": more}}} if more else {}))

    usage = {"billed_units": {"input_tokens": 10, "output_tokens": 3}, "tokens": {"input_tokens": 10, "output_tokens": 3}}
    return Spoken(
        "cohere",
        (
            named("message-start", id="r1", delta={"message": {"role": "assistant", "content": []}}),
            content("content-start", type="text", text=""),
            *(content("content-delta", text=word) for word in WORDS),
            content("content-end"),
            named("message-end", delta={"finish_reason": "COMPLETE", "usage": usage}),
        ),
        (named("unheard", x=1),),
        (content("content-start", 1, type="hologram", depth=3), content("content-end", 1)),
        plain({"message": "broke", "error": "internal"}),
        (b"event: content-delta\ndata: {not json\n\n", b"data: 7\n\n"),
        7,
    )


def _ollama() -> Spoken:
    def line(content: str, **more: Any) -> bytes:
        message = {"role": "assistant", "content": content}
        body = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False} | more
        return _text(body).encode() + b"\n"

    counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 3}
    unheard = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "unheard": 1, "done": False}
    return Spoken(
        "ollama",
        (*map(line, WORDS), line("", **counts)),
        (_text(unheard).encode() + b"\n",),
        (line("", message={"role": "assistant", "content": "", "hologram": {"depth": 3}}),),
        b'{"error": "broke"}\n',
        (b"{not json\n", b"7\n"),
        4,
        "application/x-ndjson",
    )


SPOKEN = {
    Api.CHAT: _chat(),
    Api.MESSAGES: _messages(),
    Api.RESPONSES: _responses(),
    Api.GENERATE_CONTENT: _generate_content(),
    Api.CONVERSE: _converse(),
    Api.COHERE_CHAT: _cohere(),
    Api.OLLAMA_CHAT: _ollama(),
}


def cut(stream: bytes, size: int) -> Sequence[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]
