"""What the fake provider answers in the dialects it speaks beside Chat Completions: fixed bytes, made once."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WORDS = ("A gateway", " stands between", " applications", " and their", " models,", " and", " keeps count.")
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TEXT = "".join(WORDS) * 3


@dataclass(frozen=True, slots=True)
class Spoken:
    """Whole HTTP answers of one dialect: JSON, a stream in one burst, a long one."""

    answer: bytes
    burst: bytes
    long_burst: bytes


def spoken(events: int, long_events: int) -> dict[bytes, Spoken]:
    """By the path that is asked. `events` and `long_events` count the pieces of text."""
    return {
        b"/v1/messages": Spoken(
            _json(_message([_block(_TEXT)])), _burst(_message_events(events)), _burst(_message_events(long_events))
        ),
        b"/v1/responses": Spoken(
            _json(_response("completed", [_item(_TEXT)])),
            _burst(_response_events(events)),
            _burst(_response_events(long_events)),
        ),
    }


def _json(content: object) -> bytes:
    body = _dumped(content)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _burst(events: Iterable[dict[str, object]]) -> bytes:
    """Each event one HTTP chunk, all in one write."""
    frames = [b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), _dumped(event)) for event in events]
    return _STREAM_HEAD + b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames) + b"0\r\n\r\n"


def _dumped(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _message(content: list[object]) -> dict[str, object]:
    return {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-bench",
        "content": content,
        "stop_reason": "end_turn" if content else None,
        "stop_sequence": None,
        "usage": {"input_tokens": 211, "output_tokens": 33},
    }


def _block(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _message_events(count: int) -> Iterator[dict[str, object]]:
    yield {"type": "message_start", "message": _message([])}
    yield {"type": "content_block_start", "index": 0, "content_block": _block("")}
    for number in range(count):
        delta = {"type": "text_delta", "text": WORDS[number % len(WORDS)]}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 33}}
    yield {"type": "message_stop"}


def _item(text: str) -> dict[str, object]:
    return {
        "id": "msg_bench",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def _response(status: str, output: list[object]) -> dict[str, object]:
    usage = {
        "input_tokens": 211,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 33,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 244,
    }
    return {
        "id": "resp_bench",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "model": "gpt-bench",
        "output": output,
        "usage": usage if status == "completed" else None,
    }


def _response_events(count: int) -> Iterator[dict[str, object]]:
    text = "".join(WORDS[number % len(WORDS)] for number in range(count))
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": _response("in_progress", [])}
    yield {"type": "response.in_progress", "response": _response("in_progress", [])}
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**_item(""), "status": "in_progress", "content": []},
    }
    yield {"type": "response.content_part.added", **place, "part": part}
    for number in range(count):
        yield {"type": "response.output_text.delta", **place, "delta": WORDS[number % len(WORDS)]}
    yield {"type": "response.output_text.done", **place, "text": text}
    yield {"type": "response.content_part.done", **place, "part": {**part, "text": text}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _item(text)}
    yield {"type": "response.completed", "response": _response("completed", [_item(text)])}
