"""Ollama's answers and lines in common words: the cases that no recording shows too."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.chat import Finish, Reasoning, Text, ToolCall
from router.domain.events import Broken, Finished
from router.domain.folding import folded
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import Usage
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.ollama.framing import NDJSON, LineSplitter
from tests.providers.spoken import Spoken

OLLAMA = Spoken(OLLAMA_CHAT, NDJSON)
AT = "2026-08-07T06:08:14.947137521+02:00"


def line(message: dict[str, Any] | None = None, **more: Any) -> bytes:
    told = {"model": "qwen3", "created_at": AT, "done": False} | ({} if message is None else {"message": message}) | more
    return json.dumps(told).encode() + b"\n"


def last(reason: str = "stop", **more: Any) -> bytes:
    return line({"role": "assistant", "content": ""}, done=True, done_reason=reason, **more)


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {"a": 1}}} | more


STREAM = (
    line({"content": "", "thinking": "H"})
    + line({"content": "", "thinking": "m"})
    + line({"content": "Hi"})
    + line({"content": "", "tool_calls": [call("f"), call("g")]})
    + line({"content": "", "tool_calls": [call("h", id="own")]})
    + last(prompt_eval_count=7, eval_count=3)
)


def test_a_stream_of_thoughts_text_and_calls() -> None:
    result = folded(OLLAMA.events(STREAM, 1 << 30))
    [choice] = result.choices
    thought, text, *calls = choice.parts
    assert (thought, text) == (Reasoning("Hm"), Text("Hi"))
    told = [(part.name, part.arguments) for part in calls if isinstance(part, ToolCall)]
    assert told == [("f", '{"a":1}'), ("g", '{"a":1}'), ("h", '{"a":1}')]
    assert (choice.finish, choice.said) == (Finish.TOOLS, "stop")
    assert result.usage == Usage(input_tokens=7, output_tokens=3)
    assert (result.model, result.created) == ("qwen3", 1_786_075_694)


def test_calls_without_ids_get_the_same_ones_each_time_and_no_two_alike() -> None:
    answer = line({"content": "", "tool_calls": [call("f"), call("f"), call("f", id="own")]}, done=True)
    ids = [p.id for p in OLLAMA_CHAT.decode_result(answer).choices[0].parts if isinstance(p, ToolCall)]
    again = [p.id for p in OLLAMA_CHAT.decode_result(answer).choices[0].parts if isinstance(p, ToolCall)]
    assert ids == again and len(set(ids)) == 3 and ids[2] == "own"
    later = answer.replace(b"06:08", b"06:09")
    assert not {p.id for p in OLLAMA_CHAT.decode_result(later).choices[0].parts[:2] if isinstance(p, ToolCall)} & set(ids)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", Finish.STOP), ("length", Finish.LENGTH), ("unload", Finish.UNKNOWN), ("", Finish.UNKNOWN)],
)
def test_why_an_answer_ended(reason: str, finish: Finish) -> None:
    body = line({"content": "x"}) + last(reason)
    assert [e.finish for e in OLLAMA.events(body, 7) if isinstance(e, Finished)] == [finish]
    assert OLLAMA_CHAT.decode_result(last(reason)).choices[0].finish is finish


def test_a_cached_prompt_that_is_not_counted_leaves_the_output_counted() -> None:
    assert OLLAMA_CHAT.decode_result(last(eval_count=3)).usage == Usage(output_tokens=3)
    assert OLLAMA_CHAT.decode_result(last()).usage is None
    absurd = OLLAMA_CHAT.decode_result(last(prompt_eval_count=-1, eval_count="x")).usage
    assert absurd == Usage(estimated=True, suspect=True)


def test_logprobs_are_read() -> None:
    told = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -1.5}]}]
    body = line({"content": "Hi"}, logprobs=told) + last()
    [text] = folded(OLLAMA.events(body, 1 << 30)).choices[0].parts
    assert isinstance(text, Text)
    assert (text.logprobs[0].logprob, text.logprobs[0].top[0].token) == (-0.5, "Ho")


def test_an_error_in_the_middle_breaks_the_stream() -> None:
    body = line({"content": "Hi"}) + b'{"error":"model runner has stopped"}\n'
    events = OLLAMA.events(body, 1 << 30)
    assert events[-1] == Broken("error", "model runner has stopped")


def test_a_stream_that_is_cut_is_not_finished() -> None:
    decoder = OLLAMA_CHAT.stream_decoder()
    for one in NDJSON.cut(STREAM[: STREAM.rfind(b'{"model"')]):
        decoder.feed(one)
    assert not decoder.finished and not decoder.close()


def test_lines_end_as_they_like() -> None:
    events = OLLAMA.events(STREAM, 1 << 30)
    assert OLLAMA.events(STREAM.replace(b"\n", b"\r\n"), 3) == events
    assert OLLAMA.events(STREAM.replace(b"\n", b"\n\n"), 5) == events
    assert OLLAMA.events(STREAM.rstrip(), 64) == events


@given(st.lists(st.binary(max_size=5)))
def test_whole_lines_come_out_whatever_the_pieces(pieces: list[bytes]) -> None:
    splitter, out = LineSplitter(), []
    for piece in pieces:
        whole = splitter.feed(piece)
        assert not whole or whole.endswith(b"\n")
        out.append(whole)
    joined = b"".join(pieces)
    assert b"".join(out) == joined[: joined.rfind(b"\n") + 1]
    assert b"".join(NDJSON.cut(joined)) == joined
    assert len(list(NDJSON.cut(joined))) <= NDJSON.count(joined)


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    splitter = LineSplitter(max_line=10)
    splitter.feed(b"0123456789")
    with pytest.raises(TransportFailure) as failure:
        splitter.feed(b"0")
    assert failure.value.kind is FailureKind.TOO_LARGE


def test_a_tail_that_was_cut_is_thrown_away() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"done":') == b"" and splitter.end() == b""
    assert splitter.feed(b'{"done":true}') == b"" and splitter.end() == b'{"done":true}'


@pytest.mark.parametrize("wrong", [b"x\n", b"[]\n", b'{"message":1}\n', b"\xff\n", b"[" * 5000])
def test_what_is_none_is_named(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="Ollama"):
        OLLAMA_CHAT.stream_decoder().feed(wrong)
    with pytest.raises(ValueError, match="Ollama"):
        OLLAMA_CHAT.decode_result(wrong)


@given(st.integers(0, len(STREAM) - 1), st.binary(max_size=6))
def test_noise_in_a_stream_is_a_clean_error(at: int, noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        folded(OLLAMA.events(STREAM[:at] + noise + STREAM[at + len(noise) :], 64))
