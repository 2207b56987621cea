"""What a Responses caller is told of any answer: whole, and as the sequence of events that OpenAI's SDK puts together."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from router.domain.chat import (
    Audio,
    ChatQuery,
    ChatResult,
    Choice,
    Citation,
    Family,
    Finish,
    Image,
    Logprob,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
)
from router.domain.events import (
    Broken,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.domain.folding import folded, unfolded
from router.domain.usage import Usage
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.sse import blocks, frames
from tests.providers.openai_responses_codec.sdk import EVENT, gathered

USAGE = Usage(12, 5, cached_input_tokens=2, cache_write_tokens=1, reasoning_tokens=3)
STARTED = Started(Family.CHAT, "chatcmpl-1", "gpt", 1_700_000_000)


def query(**fields: Any) -> ChatQuery:
    return OPENAI_RESPONSES.decode_query(msgspec.json.encode({"input": "hi"} | fields))


def result(*parts: Part, finish: Finish = Finish.STOP, family: Family = Family.CHAT) -> ChatResult:
    return ChatResult(family, "chatcmpl-1", "gpt", (Choice(parts, finish),), USAGE, 1_700_000_000)


def whole(answer: ChatResult, **fields: Any) -> dict[str, Any]:
    written = OPENAI_RESPONSES.encode_result(answer, query(**fields))
    Response.model_validate_json(written, strict=True)
    told: dict[str, Any] = json.loads(written)
    return told


def written(events: "list[StreamEvent]", **fields: Any) -> bytes:
    encoder = OPENAI_RESPONSES.stream_encoder(query(**fields))
    out = b"".join(encoder.feed(event) for event in events)
    return out if any(isinstance(event, Broken) for event in events) else out + encoder.close()


def told(stream: bytes) -> list[dict[str, Any]]:
    found = [json.loads(data) for _, data in frames(stream)]
    assert [name.decode() for name, _ in frames(stream)] == [event["type"] for event in found]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    for event in found:
        EVENT.validate_python(event, strict=True)
    return found


def kinds(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told(stream)]


# -- the sequence -----------------------------------------------------------------------------------------------------


def test_a_text_comes_in_the_whole_sequence() -> None:
    stream = written(
        [
            STARTED,
            PartStarted(0, Text("")),
            TextDelta(0, "Good "),
            TextDelta(0, "day"),
            PartEnded(0),
            Finished(Finish.STOP),
            UsageReported(USAGE),
        ]
    )
    assert kinds(stream) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    _, final = gathered(stream)
    assert (final.output_text, final.status, final.model) == ("Good day", "completed", "gpt")
    assert final.id == "resp_chatcmpl-1" and final.created_at == 1_700_000_000
    assert final.usage is not None
    assert final.usage.model_dump() == {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 17,
    }


def test_calls_side_by_side_keep_their_arguments_apart() -> None:
    stream = written(
        [
            STARTED,
            PartStarted(0, ToolCall("a", "f", "")),
            PartStarted(1, ToolCall("", "g", "")),
            TextDelta(1, "{"),
            TextDelta(0, '{"x":1}'),
            TextDelta(1, "}"),
            PartEnded(1),
            PartEnded(0),
            Finished(Finish.TOOLS),
        ]
    )
    _, final = gathered(stream)
    calls = [(item.call_id, item.name, item.arguments) for item in final.output if item.type == "function_call"]
    assert calls[0] == ("a", "f", '{"x":1}')
    assert calls[1][0].startswith("call_") and calls[1][1:] == ("g", "{}")
    done = [event for event in told(stream) if event["type"] == "response.function_call_arguments.done"]
    assert [(event["output_index"], event["name"], event["arguments"]) for event in done] == [
        (1, "g", "{}"),
        (0, "f", '{"x":1}'),
    ]


def test_a_text_that_goes_on_beside_a_call_ends_once() -> None:
    stream = written(
        [
            STARTED,
            PartStarted(0, Text("")),
            TextDelta(0, "One "),
            PartStarted(1, ToolCall("a", "f", "")),
            TextDelta(0, "moment"),
            PartEnded(0),
            PartEnded(1),
            PartStarted(2, Text("")),
            TextDelta(2, "Now"),
            Finished(Finish.STOP),
        ]
    )
    _, final = gathered(stream)
    assert [item.type for item in final.output] == ["message", "function_call", "message"]
    assert final.output_text == "One momentNow"
    assert kinds(stream).count("output_item.done") == 3


def test_a_custom_tools_input_has_events_of_its_own() -> None:
    stream = written([STARTED, *list(unfolded(result(ToolCall("a", "patch", "*** x", is_custom=True))))[1:]])
    assert "custom_tool_call_input.delta" in kinds(stream) and "custom_tool_call_input.done" in kinds(stream)
    (item,) = gathered(stream)[1].output
    assert item.type == "custom_tool_call" and (item.name, item.input) == ("patch", "*** x")


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_thought_is_a_summary_where_one_was_asked_for(is_stream: bool) -> None:
    answer = result(Reasoning("hm", Family.ANTHROPIC, "sig"), Text("x"), family=Family.ANTHROPIC)
    for fields, place in (({"reasoning": {"summary": "auto"}}, "summary"), ({}, "content")):
        if is_stream:
            stream = written(list(unfolded(answer)), **fields)
            events = [kind for kind in kinds(stream) if "reasoning" in kind]
            name = "reasoning_summary_text" if fields else "reasoning_text"
            assert f"{name}.delta" in events and f"{name}.done" in events
            item = gathered(stream)[1].output[0].to_dict()
        else:
            item = whole(answer, **fields)["output"][0]
        told_text: Any = item[place]
        assert (item["type"], told_text[0]["text"]) == ("reasoning", "hm") and item["encrypted_content"]


def test_pieces_of_one_thought_are_one_item() -> None:
    pieces = [Reasoning(text, Family.RESPONSES, id="rs_1", is_summary=True) for text in ("a", "b")]
    pieces[1] = msgspec.structs.replace(pieces[1], encrypted="e")
    other = Reasoning("c", Family.RESPONSES, id="rs_2", is_summary=True)
    answer = result(*pieces, other, Text("x"), family=Family.RESPONSES)
    stream = written(list(unfolded(answer)))
    for output in (whole(answer)["output"], told(stream)[-1]["response"]["output"]):
        assert [item["id"] for item in output[:2]] == ["rs_1", "rs_2"]
        assert [piece["text"] for piece in output[0]["summary"]] == ["a", "b"] and output[0]["encrypted_content"] == "e"
    decoder = OPENAI_RESPONSES.stream_decoder()
    again = folded([event for block in blocks(stream) for event in decoder.feed(block)])
    assert again.choices[0].parts == answer.choices[0].parts


def test_thoughts_of_others_without_names_stay_apart() -> None:
    answer = result(Reasoning("a", Family.ANTHROPIC, "1"), Reasoning("b", Family.ANTHROPIC, "2"), family=Family.ANTHROPIC)
    assert [item["type"] for item in whole(answer)["output"]] == ["reasoning", "reasoning"]
    assert [item.type for item in gathered(written(list(unfolded(answer))))[1].output] == ["reasoning", "reasoning"]


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_signature_of_a_call_comes_back_with_it(is_stream: bool) -> None:
    call = ToolCall("c", "city", "{}", signature="s", family=Family.GEMINI)
    answer = result(call, family=Family.GEMINI)
    output = told(written(list(unfolded(answer))))[-1]["response"]["output"] if is_stream else whole(answer)["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    (turn,) = query(input=output).turns
    (again,) = turn.parts
    assert isinstance(again, ToolCall) and (again.signature, again.family) == ("s", Family.GEMINI)


# -- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        (Finish.STOP, "completed", None),
        (Finish.STOP_SEQUENCE, "completed", None),
        (Finish.TOOLS, "completed", None),
        (Finish.UNKNOWN, "completed", None),
        (Finish.LENGTH, "incomplete", "max_output_tokens"),
        (Finish.CONTEXT, "incomplete", "max_output_tokens"),
        (Finish.FILTERED, "incomplete", "content_filter"),
        (Finish.REFUSED, "incomplete", "content_filter"),
    ],
)
def test_how_it_ended_is_told(finish: Finish, status: str, reason: str | None) -> None:
    answer = result(Text("x"), finish=finish)
    end = told(written(list(unfolded(answer))))[-1]
    assert end["type"] == f"response.{status}"
    for response in (whole(answer), end["response"]):
        assert response["status"] == status
        assert response["incomplete_details"] == (None if reason is None else {"reason": reason})


def test_a_refusal_in_words_is_an_answer() -> None:
    answer = result(Refusal("I will not."), finish=Finish.REFUSED)
    stream = written(list(unfolded(answer)))
    assert "refusal.delta" in kinds(stream) and "refusal.done" in kinds(stream)
    for response in (whole(answer), told(stream)[-1]["response"]):
        assert response["status"] == "completed"
        assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "I will not."}]


def test_what_breaks_a_stream_is_told_as_openai_tells_it() -> None:
    events: list[StreamEvent] = [STARTED, PartStarted(0, Text("")), TextDelta(0, "Go"), Broken("overloaded", "Busy", 529)]
    *_, error, failed = told(written(events))
    assert (error["type"], error["message"], error["error"]["message"]) == ("error", "Busy", "Busy")
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "Busy"}
    assert b"response.completed" not in written(events)


# -- parts ------------------------------------------------------------------------------------------------------------


def test_citations_logprobs_and_pictures_are_told() -> None:
    web = Citation(Family.ANTHROPIC, msgspec.Raw(b"{}"), url="https://x.test", title="X")
    weight = Logprob("x", -0.5, None, (Logprob("y", -1.0, (121,)),))
    answer = result(
        Text("x", (web,), (weight,)), Image(Source("image/png", data="AA==")), Audio(Source(), transcript="beep")
    )
    stream = written(list(unfolded(answer)))
    assert "output_text.annotation.added" in kinds(stream)
    for output in (whole(answer)["output"], told(stream)[-1]["response"]["output"]):
        text = output[0]["content"][0]
        assert text["annotations"] == [
            {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://x.test", "title": "X"}
        ]
        top = [{"token": "y", "bytes": [121], "logprob": -1.0}]
        assert text["logprobs"] == [{"token": "x", "bytes": [120], "logprob": -0.5, "top_logprobs": top}]
        assert (output[1]["type"], output[1]["result"]) == ("image_generation_call", "AA==")
        assert output[2]["content"][0]["text"] == "beep"


def test_logprobs_come_with_a_delta() -> None:
    events: list[StreamEvent] = [
        STARTED,
        PartStarted(0, Text("")),
        TextDelta(0, "x"),
        LogprobsAdded(0, (Logprob("x", -0.5),)),
        PartEnded(0),
    ]
    deltas = [event for event in told(written(events)) if event["type"] == "response.output_text.delta"]
    assert [one["token"] for event in deltas for one in event["logprobs"]] == ["x"]


def test_what_only_another_family_can_read_is_left_out() -> None:
    foreign = Opaque(Family.ANTHROPIC, "server_tool_use", msgspec.Raw(b"{}"))
    assert [item["type"] for item in whole(result(foreign, Text("x")))["output"]] == ["message"]
    assert kinds(written(list(unfolded(result(foreign, Text("x")))))).count("output_item.added") == 1


def test_the_request_is_told_again_around_the_answer() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    fields = {
        "instructions": "Be brief.",
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 50,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "user": "u",
    }
    response = whole(result(Text("x")), **fields)
    assert {name: response[name] for name in fields if name != "reasoning"} == {
        name: value for name, value in fields.items() if name != "reasoning"
    }
    assert response["reasoning"]["effort"] == "low"
    opened = told(written([STARTED], **fields))[0]["response"]
    assert (opened["status"], opened["output"], opened["tools"]) == ("in_progress", [], [tool])
