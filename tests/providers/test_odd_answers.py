"""What servers answer beside what their pages say: read all the same, told as it is meant, and never told as a good end."""

import base64
import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatQuery, ChatResult, Choice, Document, Family, Finish, Image, Opaque, Source, Text, ToolCall
from router.domain.events import Broken, Finished, StreamEvent
from router.domain.folding import folded, unfolded
from router.domain.requests import Api, parse_request
from router.domain.usage import Usage
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.bedrock.codec import BEDROCK
from router.providers.codec import TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import GeminiCodec
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.repairs.forced_answer import AnswerMismatch
from router.providers.translated import Translated, Translation
from tests.providers.bedrock.event_writer import event

Json = dict[str, Any]
GEMINI = GeminiCodec()


def sse(*chunks: Json) -> list[bytes]:
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


def events(target: TargetSide, frames: list[bytes]) -> list[StreamEvent]:
    decoder = target.stream_decoder()
    return [*(event for frame in frames for event in decoder.feed(frame)), *decoder.close()]


def parts(target: TargetSide, answer: Json) -> tuple[Any, ...]:
    return target.decode_result(json.dumps(answer).encode()).choices[0].parts


def streamed(target: TargetSide, frames: list[bytes]) -> tuple[Any, ...]:
    return folded(events(target, frames)).choices[0].parts


# -- Messages -------------------------------------------------------------------------------------------------


def message(*content: Json, **more: Any) -> Json:
    usage = {"input_tokens": 1, "output_tokens": 1}
    told = {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn", "usage": usage}
    return told | {"content": list(content)} | more


def test_a_new_member_of_a_known_block_takes_nothing_from_it() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}, "toolset_name": "s", "new": {}}
    blocks = ({"type": "text", "text": "hi", "tone": "warm"}, call | {"caller": {"type": "program", "tool_id": "x"}})
    expected = (Text("hi"), ToolCall("t", "f", '{"a": 1}'))
    assert parts(ANTHROPIC, message(*blocks)) == expected
    start = {"type": "message_start", "message": message()}
    begun = [{"type": "content_block_start", "index": at, "content_block": block} for at, block in enumerate(blocks)]
    assert streamed(ANTHROPIC, sse(start, *begun)) == expected


def test_an_unknown_block_is_kept_for_its_author() -> None:
    (part,) = parts(ANTHROPIC, message({"type": "dance", "steps": 3}))
    assert isinstance(part, Opaque) and part.kind == "dance"


def test_null_in_a_block_or_a_delta_says_nothing() -> None:
    assert parts(ANTHROPIC, message({"type": "text", "text": None})) == (Text(""),)
    start = {"type": "message_start", "message": message()}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": None, "citations": None}}
    deltas = [{"type": "text_delta", "text": text, "partial_json": None} for text in ("a", None, "b")]
    told = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    assert streamed(ANTHROPIC, sse(start, block, *told)) == (Text("ab"),)


def test_a_stream_that_ends_without_saying_why_has_ended() -> None:
    told = events(ANTHROPIC, sse({"type": "message_start", "message": message()}, {"type": "message_stop"}))
    assert told[-1] == Finished(Finish.UNKNOWN)


@pytest.mark.parametrize(
    ("last", "usage"),
    [
        ({"input_tokens": 0, "output_tokens": 4}, Usage(9, 4)),
        ({"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 4}, Usage(9, 4, 9)),
        ({"input_tokens": 11, "output_tokens": 4}, Usage(11, 4)),
    ],
)
def test_an_input_that_is_only_filled_in_does_not_undo_the_count(last: Json, usage: Usage) -> None:
    start = {"type": "message_start", "message": message(usage={"input_tokens": 9, "output_tokens": 1})}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last}
    assert folded(events(ANTHROPIC, sse(start, end))).usage == usage


# -- Chat Completions -----------------------------------------------------------------------------------------


def chunk(*, finish: str | None = None, **delta: Any) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def completion(*, finish: str = "stop", **said: Any) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": finish}]}


def called(**more: Any) -> Json:
    return {"index": 0, "id": "t", "type": "function"} | more


def test_a_call_begins_when_its_name_is_told() -> None:
    frames = sse(
        chunk(tool_calls=[called(function={"arguments": ""})]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}], finish="tool_calls"),
    )
    assert streamed(OPENAI_CHAT, frames) == (ToolCall("t", "f", '{"a":1}'),)


def test_a_call_that_is_never_named_is_told_all_the_same() -> None:
    frames = sse(chunk(tool_calls=[called(function={"arguments": "{}"})], finish="tool_calls"))
    assert streamed(OPENAI_CHAT, frames) == (ToolCall("t", "", "{}"),)


def test_what_gemini_signed_comes_back_through_a_server_of_this_dialect() -> None:
    call = called(function={"name": "f", "arguments": "{}"}, extra_content={"google": {"thought_signature": "sig"}})
    expected = (ToolCall("t", "f", "{}", signature="sig", family=Family.CHAT),)
    assert parts(OPENAI_CHAT, completion(tool_calls=[call])) == expected
    assert streamed(OPENAI_CHAT, sse(chunk(tool_calls=[call], finish="tool_calls"))) == expected
    result = OPENAI_CHAT.decode_result(json.dumps(completion(tool_calls=[call])).encode())
    told = json.loads(ANTHROPIC.encode_result(result, ChatQuery(Family.ANTHROPIC, ())))
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": told["content"]}, answer]
    query = ANTHROPIC.decode_query(json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode())
    sent = json.loads(OPENAI_CHAT.encode_query(query, "m", "p/m").body)
    assert sent["messages"][1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == "sig"


def test_images_that_a_model_made_are_read() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    expected = (Text("look"), Image(Source("image/png", data="aGk=")))
    assert parts(OPENAI_CHAT, completion(content="look", images=[image])) == expected
    assert streamed(OPENAI_CHAT, sse(chunk(content="look", images=[image], finish="stop"))) == expected


@pytest.mark.parametrize(
    "found",
    [
        {"search_results": [{"title": "A", "url": "https://a.test", "snippet": "q"}], "citations": ["https://a.test"]},
        {"citations": ["https://a.test"]},
    ],
)
def test_what_a_search_found_is_cited(found: Json) -> None:
    (whole,) = parts(OPENAI_CHAT, completion(content="A [1]") | found)
    (again,) = streamed(OPENAI_CHAT, sse(chunk(content="A ") | found, chunk(content="[1]", finish="stop") | found))
    assert whole == again and [citation.url for citation in whole.citations] == ["https://a.test"]
    result = ChatResult(Family.CHAT, "i", "m", (Choice((whole,), Finish.STOP),))
    told = json.loads(OPENAI_RESPONSES.encode_result(result, ChatQuery(Family.RESPONSES, ())))
    note = told["output"][0]["content"][0]["annotations"][0]
    assert (note["type"], note["url"], note["start_index"], note["end_index"]) == ("url_citation", "https://a.test", 0, 5)


@pytest.mark.parametrize("word", ["error", "insufficient_system_resource"])
def test_an_end_by_a_failure_is_no_end(word: str) -> None:
    with pytest.raises(ValueError, match="failed"):
        parts(OPENAI_CHAT, completion(content="half", finish=word))
    told = events(OPENAI_CHAT, sse(chunk(content="half"), chunk(finish=word)))
    assert isinstance(told[-1], Broken) and told[-1].status in {502, 503}


def test_an_error_inside_of_a_choice_is_an_error() -> None:
    failed = {"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "overloaded"}}
    assert events(OPENAI_CHAT, sse(chunk(content="half"), {"id": "c", "choices": [failed]}))[-1] == Broken(
        "error", "overloaded", 502
    )


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("content_filter: SAFETY", Finish.FILTERED),
        ("content-filter", Finish.FILTERED),
        ("SAFETY", Finish.FILTERED),
        ("MAX_TOKENS", Finish.LENGTH),
        ("completed", Finish.STOP),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", Finish.MALFORMED),
    ],
)
def test_ends_in_others_words_mean_the_same(word: str, finish: Finish) -> None:
    body = json.dumps(completion(content="x", finish=word)).encode()
    assert OPENAI_CHAT.decode_result(body).choices[0].finish is finish


def test_a_count_with_the_last_choice_is_the_count() -> None:
    counted = chunk(finish="stop")
    counted["choices"][0]["usage"] = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert folded(events(OPENAI_CHAT, sse(chunk(content="x"), counted))).usage == Usage(7, 2)


def test_an_empty_error_is_told_by_its_status() -> None:
    assert OPENAI_CHAT.decode_error(500, b'{"error": ""}').message == "the provider answered HTTP 500"


# -- Gemini, Bedrock, Cohere ----------------------------------------------------------------------------------


def test_a_count_without_its_prompt_adds_to_what_was_counted() -> None:
    frames = sse(
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 5}},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"candidatesTokenCount": 9, "thoughtsTokenCount": 1}},
    )
    assert folded(events(GEMINI, frames)).usage == Usage(5, 10, reasoning_tokens=1)


def test_images_of_bedrocks_are_whole_however_they_come() -> None:
    content = b"not a multiple of three!?"
    expected = (Text("look"), Image(Source("image/png", data=base64.b64encode(content).decode())))
    whole = {"image": {"format": "png", "source": {"bytes": expected[1].source.data}}}
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "look"}, whole]}}, "stopReason": "end_turn"}
    assert parts(BEDROCK, answer) == expected
    pieces = [base64.b64encode(content[at : at + 7]).decode() for at in range(0, len(content), 7)]
    deltas = [{"image": {"source": {"bytes": piece}}} for piece in pieces]
    frames = [
        event("messageStart", {"role": "assistant"}),
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "look"}}),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"image": {"format": "png"}}}),
        *(event("contentBlockDelta", {"contentBlockIndex": 1, "delta": delta}) for delta in deltas),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        event("messageStop", {"stopReason": "end_turn"}),
    ]
    assert streamed(BEDROCK, frames) == expected


def test_an_image_of_bedrocks_that_is_elsewhere_is_kept_for_it() -> None:
    block = {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}
    answer = {"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": "end_turn"}
    (part,) = parts(BEDROCK, answer)
    assert isinstance(part, Opaque)


def test_coheres_nulls_say_nothing() -> None:
    cited = {"start": 0, "end": 2, "text": "hi", "sources": None, "type": None, "content_index": None}
    said = {"role": "assistant", "content": [{"type": "text", "text": "hi"}], "citations": [cited], "tool_calls": None}
    (text,) = parts(COHERE_CHAT, {"id": "i", "message": said, "finish_reason": "COMPLETE", "usage": None})
    assert text.text == "hi" and len(text.citations) == 1


# -- what no dialect may tell as a good end -------------------------------------------------------------------

MALFORMED = {"candidates": [{"content": {"parts": []}, "finishReason": "MALFORMED_FUNCTION_CALL"}]}
COUNTED = MALFORMED | {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}}


def asked(*, stream: bool) -> Translation:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    return Translated(OPENAI_CHAT, GEMINI).translation(parse_request(Api.CHAT, msgspec.json.encode(body)), "m", "p/m")


def test_a_call_that_the_provider_calls_malformed_is_an_error_that_was_paid_for() -> None:
    with pytest.raises(AnswerMismatch, match="MALFORMED_FUNCTION_CALL") as caught:
        asked(stream=False).answer(json.dumps(COUNTED).encode(), 1)
    assert caught.value.usage == Usage(5, 2)


def test_a_stream_that_ends_with_a_malformed_call_ends_with_an_error() -> None:
    meter = asked(stream=True).meter(1)
    told = b"".join([*(meter.feed(frame) for frame in sse(COUNTED)), meter.close()])
    assert b'"error"' in told and b"[DONE]" not in told and b'"stop"' not in told
    assert meter.failed and meter.unfit and meter.usage == Usage(5, 2)


# -- media for callers who have no place for them -------------------------------------------------------------


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC, OPENAI_RESPONSES], ids=["chat", "messages", "responses"])
@pytest.mark.parametrize(
    "part",
    [
        Image(Source("image/png", data="aGk=")),
        Image(Source(url="https://a.test/made.png")),
        Document(Source("application/pdf", data="aGk=")),
        Document(Source("text/csv", text="a,b")),
    ],
)
def test_a_medium_that_a_model_made_reaches_every_caller(caller: Any, part: Image | Document) -> None:
    result = ChatResult(Family.GEMINI, "i", "m", (Choice((part,), Finish.STOP),), Usage(1, 1))
    query = ChatQuery(caller.family, (), stream=True)
    encoder = caller.stream_encoder(query)
    stream = b"".join([*(encoder.feed(event) for event in unfolded(result)), encoder.close()]).decode()
    whole = caller.encode_result(result, query).decode()
    where = part.source.data or part.source.url or part.source.text
    assert where in whole and where in stream
