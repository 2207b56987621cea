"""What Responses targets answer, streams of servers that leave things out among them."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatResult, Finish, Refusal, Text, ToolCall
from router.domain.events import StreamEvent
from router.domain.folding import folded
from router.domain.usage import Usage
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES


def events_of(*sent: dict[str, Any]) -> ChatResult:
    decoder = OPENAI_RESPONSES.stream_decoder()
    found: list[StreamEvent] = []
    for event in sent:
        found += decoder.feed(b"data: " + json.dumps(event).encode() + b"\r\n\r\n")
    return folded([*found, *decoder.close()])


MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
}
CALL = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}
END = {
    "type": "response.completed",
    "response": {"id": "r", "output": [MESSAGE, CALL], "usage": {"input_tokens": 1, "output_tokens": 1}},
}


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [
            {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
            {"type": "response.output_item.done", "output_index": 1, "item": CALL},
        ],
        [
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "H"},
            {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi"},
            {"type": "response.output_item.added", "output_index": 1, "item": CALL | {"arguments": ""}},
            {"type": "response.function_call_arguments.done", "output_index": 1, "arguments": "{}"},
            {"type": "response.never_heard_of", "delta": {"odd": 1}},
        ],
        [
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
            {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
            {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi"},
            {"type": "response.output_item.added", "output_index": 1, "item": CALL},
        ],
    ],
)
def test_a_stream_may_leave_things_out(sent: list[dict[str, Any]]) -> None:
    found = events_of({"type": "response.created", "response": {"id": "r", "model": "m"}}, *sent, END)
    assert found.choices[0].parts == (Text("Hi"), ToolCall("c", "f", "{}", item_id="fc"))
    assert found.choices[0].finish is Finish.TOOLS and found.usage == Usage(1, 1)


@pytest.mark.parametrize(
    "sent",
    [
        {"type": "response.output_item.added", "output_index": "x", "item": {}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{"},
        {"type": "response.output_text.delta", "output_index": -1, "delta": "{"},
    ],
)
def test_what_is_out_of_place_is_an_error(sent: dict[str, Any]) -> None:
    decoder = OPENAI_RESPONSES.stream_decoder()
    decoder.feed(b'data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message"}}\n\n')
    with pytest.raises(ValueError, match=r"item|index|place"):
        decoder.feed(b"data: " + json.dumps(sent).encode() + b"\n\n")


def test_citations_that_only_the_whole_item_tells_are_told() -> None:
    cited = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2}
    whole_item = MESSAGE | {"content": [{"type": "output_text", "text": "Hi", "annotations": [cited, cited]}]}
    added = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0, "annotation": cited}
    done = {"type": "response.output_item.done", "output_index": 0, "item": whole_item}
    for sent in ([done], [added, done]):
        (part, *_) = events_of({"type": "response.created", "response": {"id": "r"}}, *sent, END).choices[0].parts
        assert isinstance(part, Text) and [one.url for one in part.citations] == ["https://x.test"] * 2


def test_a_refusal_is_read_as_one() -> None:
    said = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    body = {"id": "r", "output": [said], "status": "completed"}
    (choice,) = OPENAI_RESPONSES.decode_result(msgspec.json.encode(body)).choices
    assert (choice.parts, choice.finish) == ((Refusal("No."),), Finish.REFUSED)
    delta = {"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "No."}
    found = events_of(
        {"type": "response.created", "response": body}, delta, {"type": "response.completed", "response": body}
    )
    assert (found.choices[0].parts, found.choices[0].finish) == ((Refusal("No."),), Finish.REFUSED)
