"""Cohere's answers and streams in common words: the cases that no recording shows too."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.chat import Finish, Reasoning, Text, ToolCall
from router.domain.events import (
    Broken,
    CitationAdded,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    StreamEvent,
    TextDelta,
)
from router.domain.folding import folded
from router.domain.requests import Api
from router.domain.usage import Usage
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.sse import frames
from tests.providers.spoken import HELLO, PROMPT, Spoken

COHERE = Spoken(COHERE_CHAT)
USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 3}, "tokens": {"input_tokens": 500, "output_tokens": 9}}


def answer(message: dict[str, Any], finish: str = "COMPLETE", **more: Any) -> bytes:
    return json.dumps({"id": "a1", "message": {"role": "assistant"} | message, "finish_reason": finish} | more).encode()


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


START = {"type": "message-start", "id": "a1", "delta": {"message": {"role": "assistant", "content": [], "tool_calls": []}}}


def added(kind: str, index: int = 0, **message: Any) -> dict[str, Any]:
    return {"type": kind, "index": index, "delta": {"message": message}}


def end(**delta: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": delta}


def read(*events: dict[str, Any]) -> list[StreamEvent]:
    return COHERE.events(stream(START, *events), 1 << 30)


TEXT = (added("content-start", content={"type": "text", "text": ""}), added("content-delta", content={"text": "Hi"}))


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("COMPLETE", Finish.STOP),
        ("STOP_SEQUENCE", Finish.STOP_SEQUENCE),
        ("MAX_TOKENS", Finish.LENGTH),
        ("TOOL_CALL", Finish.TOOLS),
        ("SOMETHING", Finish.UNKNOWN),
    ],
)
def test_why_an_answer_ended(word: str, finish: Finish) -> None:
    [choice] = COHERE_CHAT.decode_result(answer({"content": []}, word)).choices
    assert (choice.finish, choice.said) == (finish, word)
    assert [e.finish for e in read(end(finish_reason=word)) if isinstance(e, Finished)] == [finish]


@pytest.mark.parametrize("word", ["ERROR", "TIMEOUT"])
def test_an_answer_that_says_it_failed_is_none(word: str) -> None:
    with pytest.raises(ValueError, match=word):
        COHERE_CHAT.decode_result(answer({"content": []}, word))
    assert isinstance(read(*TEXT, end(finish_reason=word))[-1], Broken)


def test_a_stream_whose_end_holds_an_error_is_broken() -> None:
    events = read(*TEXT, end(error="it broke", finish_reason="ERROR"))
    assert events[-1] == Broken("ERROR", "it broke", 500)
    assert not any(isinstance(event, Finished) for event in events)


def test_what_is_billed_is_what_was_used() -> None:
    result = COHERE_CHAT.decode_result(answer({"content": []}, usage=USAGE | {"cached_tokens": 448}))
    assert result.usage == Usage(input_tokens=5, output_tokens=3)
    only_counted = {"tokens": {"input_tokens": 7, "output_tokens": 2, "reasoning_tokens": 9}}
    usage = COHERE_CHAT.decode_result(answer({"content": []}, usage=only_counted)).usage
    assert usage == Usage(input_tokens=7, output_tokens=2, reasoning_tokens=2)
    assert COHERE_CHAT.decode_result(answer({"content": []})).usage is None


def test_absurd_counts_are_clamped_and_suspect() -> None:
    usage = COHERE_CHAT.decode_result(
        answer({"content": []}, usage={"billed_units": {"input_tokens": -4, "output_tokens": 1e30}})
    ).usage
    assert usage == Usage(input_tokens=0, output_tokens=2**31, suspect=True)


def test_citations_stand_with_the_text_they_are_of() -> None:
    source = {
        "type": "document",
        "id": "d",
        "document": {"id": "d", "title": "T", "url": "https://x.test", "text": "quoted"},
    }
    cited = {"start": 0, "end": 2, "text": "Hi", "sources": [source], "type": "TEXT_CONTENT", "content_index": 1}
    blocks = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}]
    of_plan = cited | {"type": "PLAN"}
    result = COHERE_CHAT.decode_result(answer({"content": blocks, "citations": [cited, of_plan]}))
    thought, text = result.choices[0].parts
    assert isinstance(thought, Reasoning) and isinstance(text, Text)
    [citation] = text.citations
    told = (citation.title, citation.url, citation.quote, citation.start, citation.end)
    assert told == ("T", "https://x.test", "quoted", 0, 2)
    told_to_chat = json.loads(COHERE.asked(Api.CHAT, HELLO).answer(answer({"content": blocks, "citations": [cited]}), 1)[0])
    assert told_to_chat["choices"][0]["message"]["annotations"][0]["url_citation"]["url"] == "https://x.test"


def test_a_citation_behind_the_end_of_its_text_is_still_of_it() -> None:
    cited = added("citation-start", citations={"start": 0, "end": 2, "text": "Hi", "sources": [], "type": "TEXT_CONTENT"})
    events = read(*TEXT, {"type": "content-end", "index": 0}, cited, end(finish_reason="COMPLETE"))
    kinds = [type(event) for event in events[1:]]
    assert kinds == [PartStarted, TextDelta, CitationAdded, PartEnded, Finished]


def test_logprobs_are_of_the_words_they_come_with() -> None:
    chunk = TEXT[1] | {"logprobs": {"text": "Hi", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}}
    [probable] = [event for event in read(TEXT[0], chunk) if isinstance(event, LogprobsAdded)]
    assert [(one.token, one.logprob) for one in probable.logprobs] == [("Hi", -0.75)]
    told = answer({"content": [{"type": "text", "text": "Hi"}]}, logprobs=[chunk["logprobs"]])
    [text] = COHERE_CHAT.decode_result(told).choices[0].parts
    assert isinstance(text, Text) and text.logprobs == probable.logprobs


def test_a_plan_two_calls_and_an_empty_one() -> None:
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": ""}} for n in (0, 1)]
    events = read(
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will"}}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": " look"}}},
        added("tool-call-start", 0, tool_calls=calls[0]),
        added("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"a":'}}),
        added("tool-call-delta", 0, tool_calls={"function": {"arguments": "1}"}}),
        {"type": "tool-call-end", "index": 0},
        added("tool-call-start", 1, tool_calls=calls[1]),
        {"type": "tool-call-end", "index": 1},
        end(finish_reason="TOOL_CALL", usage=USAGE),
    )
    plan, first, second = folded(events).choices[0].parts
    assert isinstance(plan, Reasoning) and (plan.text, plan.signature) == ("I will look", "tool_plan")
    assert isinstance(first, ToolCall) and isinstance(second, ToolCall)
    assert [(c.id, c.arguments) for c in (first, second)] == [("c0", '{"a":1}'), ("c1", "{}")]


def test_thoughts_travel_to_each_caller_and_back() -> None:
    told = answer({"content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}]})
    want = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}]
    for api in (Api.CHAT, Api.MESSAGES):
        said = json.loads(COHERE.asked(api, HELLO).answer(told, 1)[0])
        said = said["choices"][0]["message"] if api is Api.CHAT else {"role": "assistant", "content": said["content"]}
        turns = [{"role": "user", "content": "x"}, said, {"role": "user", "content": "y"}]
        assert COHERE.sent({"messages": turns}, api)["messages"][1]["content"] == want
        assert not COHERE.dropped({"messages": turns}, api)
    output = json.loads(COHERE.asked(Api.RESPONSES, PROMPT).answer(told, 1)[0])["output"]
    given = PROMPT | {"input": [{"role": "user", "content": "x"}, *output, {"role": "user", "content": "y"}]}
    assert json.loads(COHERE.asked(Api.RESPONSES, given).body)["messages"][1]["content"] == want


def test_the_model_that_cohere_does_not_name_is_the_one_that_was_asked() -> None:
    asked = COHERE.asked(Api.CHAT, HELLO)
    assert json.loads(asked.answer(answer({"content": []}), 7)[0])["model"] == "m"
    chunk = next(data for _, data in frames(asked.meter(7).feed(stream(START, *TEXT))))
    assert (json.loads(chunk)["model"], json.loads(chunk)["created"]) == ("m", 7)


def test_unknown_events_are_counted_and_nothing_else() -> None:
    decoder = COHERE_CHAT.stream_decoder()
    assert not decoder.feed(
        stream({"type": "debug", "prompt": "x"}, added("something-new", tool_plan="x"), {"type": "late"})
    )
    assert getattr(decoder, "unknown") == 3  # noqa: B009  no part of the protocol


@pytest.mark.parametrize(
    "wrong",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        stream(added("content-delta", content={"text": "x"})),
        stream(added("tool-call-delta", tool_calls={"function": {"arguments": "x"}})),
        stream(added("content-start", content=[])),
        b'data: {"type":"content-start","index":"x"}\n\n',
    ],
)
def test_frames_that_are_none_are_named(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        COHERE_CHAT.stream_decoder().feed(wrong)


@pytest.mark.parametrize("wrong", [b"", b"[]", b"{}", b'{"message":{"content":"x"}}', b"\xff", b"[" * 5000])
def test_answers_that_are_none_are_named(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="answer"):
        COHERE_CHAT.decode_result(wrong)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"id":"x","message":"invalid api token"}', "invalid api token"),
        (b"<html>", "<html>"),
        (b"", "the provider answered HTTP 500"),
        (b"[1]", "the provider answered HTTP 500"),
    ],
)
def test_errors_are_told_as_far_as_they_can_be(body: bytes, message: str) -> None:
    assert COHERE_CHAT.decode_error(500, body).message == message


WHOLE = stream(START, *TEXT, {"type": "content-end", "index": 0}, end(finish_reason="COMPLETE", usage=USAGE))


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=6))
def test_noise_in_a_stream_is_a_clean_error(at: int, noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        folded(COHERE.events(WHOLE[:at] + noise + WHOLE[at + len(noise) :], 64))


@given(st.binary(max_size=60))
def test_noise_for_an_answer_is_a_clean_error(noise: bytes) -> None:
    for body in (noise, answer({"content": [{"type": "text", "text": "Hi"}]}, usage=USAGE)[: len(noise) * 4] + noise):
        with contextlib.suppress(ValueError):
            COHERE_CHAT.decode_result(body)
        COHERE_CHAT.decode_error(500, body)
