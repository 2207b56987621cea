"""Tools that take free text, over targets whose tools take objects."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.requests import Api
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.bedrock.codec import BEDROCK
from router.providers.codec import TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import GeminiCodec
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.openai_chat_codec.accents import COMPATIBLE
from router.providers.openai_chat_codec.codec import OPENAI_CHAT, OpenAIChat
from router.providers.repairs.free_text import InputText
from router.providers.sse import frames
from tests.providers.spoken import HELLO, Spoken

PATCH = '*** Begin Patch\n-x = "1"\n+x = "€ \\ \U0001f600"\n*** End Patch\n'
GRAMMAR = 'start: "*** Begin Patch" LF'
FORM = {"type": "grammar", "syntax": "lark", "definition": GRAMMAR}
TOOL = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": FORM}
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
CALLED = {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "input": PATCH}
ANSWERED = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Success."}
ASKED: dict[str, Any] = {
    "model": "a",
    "input": [{"role": "user", "content": "Fix it."}, CALLED, ANSWERED],
    "tools": [TOOL, SHELL],
    "stream": True,
}
SPOKEN = Spoken(ANTHROPIC)
TARGETS = [ANTHROPIC, BEDROCK, COHERE_CHAT, OLLAMA_CHAT, GeminiCodec(), OpenAIChat(COMPATIBLE)]


def read(text: str, step: int) -> str:
    reader = InputText()
    return "".join([*(reader.feed(text[at : at + step]) for at in range(0, len(text), step)), reader.end()])


@given(st.text(), st.integers(1, 9), st.booleans(), st.sampled_from([None, 1]))
def test_a_text_is_read_out_of_its_object_wherever_that_is_cut(text: str, step: int, ascii_only: bool, indent: int) -> None:
    for told in ({"input": text}, {"input": text, "more": 1}, {"more": {"input": "no"}, "input": text}):
        assert read(json.dumps(told, ensure_ascii=ascii_only, indent=indent), step) == text


@given(st.text(alphabet='{}"\\input: u0dea83\n5', max_size=40))
def test_however_it_is_cut_it_reads_the_same(text: str) -> None:
    whole = read(text, 99)
    assert {read(text, step) for step in range(1, 9)} == {whole}
    assert {read('{"input":"' + text, step) for step in range(1, 9)} == {read('{"input":"' + text, 99)}


@pytest.mark.parametrize("text", ["*** Begin Patch", '{"patch": "x"}', '{"input": 5}', "[1]", '{"inp'])
def test_what_is_no_such_object_is_the_text_itself(text: str) -> None:
    assert read(text, 3) == text


def test_the_text_comes_while_it_is_written() -> None:
    reader = InputText()
    assert [reader.feed(piece) for piece in ('{"in', 'put": "a\\', "nb\\ud8", '3d\\ude00"', "}")] == [
        "",
        "a",
        "\nb",
        "\U0001f600",
        "",
    ]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.family))
def test_such_a_tool_is_offered_as_a_function_with_its_grammar_told(target: TargetSide) -> None:
    asked = Spoken(target).asked(Api.RESPONSES, ASKED)
    assert "tools.format" in asked.dropped
    sent = json.loads(asked.body)
    assert json.dumps(GRAMMAR)[1:-1] in json.dumps(sent["toolConfig"] if "toolConfig" in sent else sent["tools"])
    assert '"custom"' not in asked.body.decode()
    assert json.dumps({"input": PATCH}, ensure_ascii=False)[1:-1] in unescaped(asked.body.decode())


def unescaped(body: str) -> str:
    """The body as JSON of the same spacing as Python's, with arguments that are JSON text opened."""
    told = body.replace("\\\\", "\\").replace('\\"', '"') if '\\"input\\"' in body else body
    return told.replace('"input":"', '"input": "')


def test_openai_itself_gets_the_tool_as_it_is() -> None:
    sent = Spoken(OPENAI_CHAT).asked(Api.RESPONSES, ASKED)
    assert json.loads(sent.body)["tools"][0]["type"] == "custom" and "tools.format" not in sent.dropped


def sse(*told: dict[str, Any]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in told)


def answered(*calls: tuple[str, str]) -> bytes:
    """A stream of Anthropic's that calls tools with JSON texts, in pieces of four."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": usage}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, (name, text) in enumerate(calls):
        block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
        told.append({"type": "content_block_start", "index": index, "content_block": block})
        for at in range(0, len(text), 4):
            delta = {"type": "input_json_delta", "partial_json": text[at : at + 4]}
            told.append({"type": "content_block_delta", "index": index, "delta": delta})
        told.append({"type": "content_block_stop", "index": index})
    told.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}})
    return sse(*told, {"type": "message_stop"})


def test_a_call_streams_to_a_caller_of_responses_with_its_text() -> None:
    meter = SPOKEN.asked(Api.RESPONSES, ASKED).meter(1)
    told = meter.feed(answered(("apply_patch", json.dumps({"input": PATCH})), ("shell", '{"a": "b"}'))) + meter.close()
    events = [json.loads(data) for _, data in frames(told)]
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == PATCH and len(deltas) > 5
    first, second = events[-1]["response"]["output"]
    assert (first["type"], first["name"], first["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    assert (second["type"], second["arguments"]) == ("function_call", '{"a": "b"}')
    assert events[-1]["response"]["tools"][0]["type"] == "custom"


def test_a_whole_answer_has_the_same_call_for_a_caller_of_chat() -> None:
    custom = {"name": "apply_patch", "format": {"type": "text"}}
    asked = SPOKEN.asked(
        Api.CHAT, {"model": "a", "messages": HELLO["messages"], "tools": [{"type": "custom", "custom": custom}]}
    )
    assert "tools.format" not in asked.dropped
    block = {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": PATCH}}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "content": [block],
        "stop_reason": "tool_use",
    }
    usage = {"usage": {"input_tokens": 3, "output_tokens": 1}}
    body, _ = asked.answer(json.dumps(message | usage).encode(), 1)
    (call,) = json.loads(body)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "toolu_1", "type": "custom", "custom": {"name": "apply_patch", "input": PATCH}}
