"""Every recorded request, answer and stream is read without loss and written again."""

import json
from typing import Any

import msgspec
import pytest
from openai._models import construct_type
from openai.types.responses import Response

from router.domain.chat import ChatResult, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from router.domain.events import Broken, StreamEvent
from router.domain.folding import Fold, folded, unfolded
from router.providers.openai_responses import RESPONSES
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.stream_in import ResponsesStreamDecoder
from router.providers.sse import FrameSplitter, blocks, frames
from tests.providers.openai_responses_codec.recordings import Recording, recordings
from tests.providers.openai_responses_codec.sdk import EVENT, gathered

QUERY = OPENAI_RESPONSES.decode_query(b'{"input":"x"}')
BEYOND_THE_SDK = {
    "compat-xai/compat.responses/u-200-ai-xai-web-search-tool.1-0.json",
    "compat-xai/compat.responses/u-200-ai-xai-x-search-tool.1-0.json",
}
"""xAI's own tools: items that OpenAI's SDK knows by no type, or without the members it requires."""
FOUR_IN_ONE = "azure/azure_openai.responses/s-200-ai-azure-reasoning-encrypted-content.1.chunks-0.json"
"""Four streams put together by whoever recorded them: the first is the answer."""


def events_of(body: bytes, cut: int) -> list[StreamEvent]:
    splitter, decoder = FrameSplitter(), ResponsesStreamDecoder()
    found: list[StreamEvent] = []
    for at in range(0, len(body), cut):
        for frame in blocks(splitter.feed(body[at : at + cut])):
            found += decoder.feed(frame)
    if rest := splitter.end():
        found += decoder.feed(rest)
    assert decoder.finished and decoder.unknown == 0
    return [*found, *decoder.close()]


def told_events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in frames(body) if data != b"[DONE]"]


def said(response: dict[str, Any]) -> list[Any]:
    """A plain reading of an output, independent of the code under test."""
    found: list[Any] = []
    for item in response["output"]:
        if item["type"] == "message":
            found += [part.get("text", "") + part.get("refusal", "") for part in item["content"]]
        elif item["type"] == "reasoning":
            texts = [part["text"] for part in [*item["summary"], *(item.get("content") or [])]]
            seal = item.get("encrypted_content")
            found += [*texts, ("sealed", bool(seal))] if texts or seal else []
        elif item["type"] == "function_call":
            found.append((item["call_id"], item["name"], item["arguments"]))
        else:
            found.append(item["type"])
    return found


def told(result: ChatResult) -> list[Any]:
    found: list[Any] = []
    parts = result.choices[0].parts
    for part, behind in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(part, Reasoning):
            found += [part.text] if part.text else []
            goes_on = isinstance(behind, Reasoning) and behind.id == part.id and not part.encrypted
            found += [] if goes_on else [("sealed", bool(part.encrypted))]
        else:
            found.append(_told(part))
    return found


def _told(part: Part) -> Any:
    if isinstance(part, Text | Refusal):
        return part.text
    if isinstance(part, ToolCall):
        return (part.id, part.name, part.arguments)
    assert isinstance(part, Opaque)
    return part.kind


def whole_answers() -> list[Recording]:
    return [r for r in recordings() if r.status < 300 and not r.is_stream]


def streams() -> list[Recording]:
    return [r for r in recordings() if r.status < 300 and r.is_stream]


def test_whole_answers_are_read_and_written_without_loss() -> None:
    seen = 0
    for recording in whole_answers():
        result = OPENAI_RESPONSES.decode_result(recording.body)
        answer = json.loads(recording.body)
        assert told(result) == said(answer), recording.name
        assert result.usage == RESPONSES.usage_of(recording.body), recording.name
        again = OPENAI_RESPONSES.encode_result(result, QUERY)
        check_sdk(again, recording.name)
        written = json.loads(again)
        assert said(written) == said(answer), recording.name
        assert written["status"] == answer["status"] or answer["status"] == "queued"
        assert folded(unfolded(result)) == result
        seen += 1
    assert seen > 65


def check_sdk(answer: bytes, name: str) -> None:
    if name not in BEYOND_THE_SDK:
        Response.model_validate_json(answer, strict=True)
        return
    read: Any = construct_type(value=json.loads(answer), type_=Response)
    assert isinstance(read, Response) and read.output_text


def test_streams_are_read_and_written_without_loss() -> None:
    seen = 0
    for recording in streams():
        events = events_of(recording.body, 1 << 30)
        fold = Fold()
        for event in events:
            fold.feed(event)
        if fold.broken is not None:
            assert b'"error"' in recording.body
            continue
        result = fold.result()
        end = next(event for event in told_events(recording.body) if event["type"] == "response.completed")
        assert told(result) == said(end["response"]), recording.name
        whole = OPENAI_RESPONSES.decode_result(msgspec.json.encode(end["response"]))
        assert result.usage == whole.usage and result.choices[0].finish is whole.choices[0].finish, recording.name
        citations = [part.citations for part in result.choices[0].parts if isinstance(part, Text)]
        assert citations == [part.citations for part in whole.choices[0].parts if isinstance(part, Text)], recording.name
        check_written(events, result, recording.name)
        seen += 1
    assert seen > 50


def check_written(events: list[StreamEvent], result: ChatResult, name: str) -> None:
    """What is written is what the SDK knows, numbered without a gap, and reads as the same answer."""
    encoder = OPENAI_RESPONSES.stream_encoder(QUERY)
    written = b"".join(encoder.feed(event) for event in events) + encoder.close()
    sent = told_events(written)
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    for event in sent:
        EVENT.validate_python(event, strict=True)
    _, final = gathered(written)
    assert said(final.to_dict()) == said(sent[-1]["response"])
    again = folded(events_of(written, 1 << 30))
    assert told(again) == told(result), name
    assert again.choices[0].finish is result.choices[0].finish and again.usage == result.usage, name


def test_a_stream_that_its_provider_broke_ends_broken() -> None:
    broken = [r for r in streams() if any(isinstance(event, Broken) for event in events_of(r.body, 1 << 30))]
    assert [b"insufficient_quota" in r.body for r in broken] == [True]


def test_of_streams_put_together_the_first_counts() -> None:
    found = [r for r in streams() if r.name == FOUR_IN_ONE]
    parts = folded(events_of(found[0].body, 1 << 30)).choices[0].parts
    assert [type(part) for part in parts] == [Reasoning, ToolCall]


def test_requests_mean_the_same_when_they_are_written_again() -> None:
    seen = 0
    for recording in recordings():
        if recording.sent is None:
            continue
        query = OPENAI_RESPONSES.decode_query(msgspec.json.encode(recording.sent))
        encoded = OPENAI_RESPONSES.encode_query(query, recording.sent["model"], "own/m")
        assert not encoded.dropped, recording.name
        assert OPENAI_RESPONSES.decode_query(encoded.body) == query, recording.name
        assert normal(json.loads(encoded.body)) == normal(recording.sent), recording.name
        seen += 1
    assert seen > 100


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Two ways to write the same are one: null and absent, a text alone and in a list."""
    found = {name: value for name, value in body.items() if value not in (None, [], {}, False, "") or name == "store"}
    if isinstance(found["input"], str):
        found["input"] = [{"role": "user", "content": found["input"]}]
    found["input"] = [normal_item(item) for item in found["input"]]
    found["tools"] = [{name: v for name, v in tool.items() if v is not None} for tool in found.get("tools", [])]
    return found


def normal_item(item: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in item.items() if value not in (None, [])}
    if "role" in found:
        found["type"] = "message"
    for name in ("content", "output"):
        if isinstance(found.get(name), str):
            kind = "output_text" if found.get("role") == "assistant" else "input_text"
            found[name] = [{"type": kind, "text": found[name]}]
        for part in found.get(name, ()):
            part.pop("annotations", None)
            part.pop("logprobs", None)
    return found


def test_recorded_errors_are_told() -> None:
    seen = 0
    for recording in recordings():
        if recording.status < 400 or not recording.body:
            continue
        error = OPENAI_RESPONSES.decode_error(recording.status, recording.body)
        assert error.message in json.dumps(json.loads(recording.body)).replace('\\"', '"'), recording.name
        seen += 1
    assert seen > 5


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_came_to_nothing_is_no_answer(status: str) -> None:
    body = {"id": "resp_1", "output": [], "status": status, "error": {"code": "server_error", "message": "no luck"}}
    if status == "failed":
        with pytest.raises(ValueError, match="no luck"):
            OPENAI_RESPONSES.decode_result(msgspec.json.encode(body))
    else:
        assert OPENAI_RESPONSES.decode_result(msgspec.json.encode(body)).choices[0].finish == "unknown"
