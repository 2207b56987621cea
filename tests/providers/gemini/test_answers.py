"""Gemini's answers and streams in common words, and on to callers: nothing of them is lost."""

import base64
import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import Audio, Choice, Document, Finish, Image, Logprob, Opaque, Reasoning, Refusal, Text, ToolCall
from router.domain.events import Broken, StreamEvent
from router.domain.folding import folded
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.codec import CallerSide
from router.providers.gemini.codec import GeminiCodec
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.sse import frames

GEMINI = GeminiCodec()


def chunk(
    *parts: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0} | more
    if finish:
        candidate["finishReason"] = finish
    told: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1"}
    return told | ({"usageMetadata": usage} if usage else {})


def choice_of(told: dict[str, Any]) -> Choice:
    return GEMINI.decode_result(msgspec.json.encode(told)).choices[0]


def sse(*chunks: dict[str, Any], end: str = "\r\n\r\n") -> list[bytes]:
    return [f"data: {json.dumps(one)}{end}".encode() for one in chunks]


def events(*chunks: dict[str, Any]) -> list[StreamEvent]:
    decoder = GEMINI.stream_decoder()
    return [event for frame in sse(*chunks) for event in decoder.feed(frame)] + list(decoder.close())


CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "sig"}


def test_each_part_is_of_its_kind() -> None:
    parts = choice_of(
        chunk(
            {"text": "hm", "thought": True},
            {"text": "Hi", "thoughtSignature": "s1"},
            CALL,
            {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
            {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AA=="}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a.pdf"}},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"text": ""},
            {"somethingNew": {}},
            finish="STOP",
        )
    ).parts
    kinds = [type(part) for part in parts]
    assert kinds == [Reasoning, Text, ToolCall, Image, Audio, Document, Opaque, Opaque]
    assert (parts[1].signature, parts[2].signature) == ("s1", "sig")  # type: ignore[union-attr]  # as the kinds above say
    assert parts[6].kind == "executableCode"  # type: ignore[union-attr]  # as the kinds above say


def test_calls_without_ids_get_some_that_no_other_answer_has() -> None:
    first = choice_of(chunk(CALL, CALL, finish="STOP"))
    assert first.finish is Finish.TOOLS
    other = choice_of(chunk(CALL, finish="STOP") | {"responseId": "r2"})
    ids = [part.id for choice in (first, other) for part in choice.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 3 and all(one.startswith("call_") for one in ids)
    assert choice_of(chunk(CALL, CALL, finish="STOP")) == first
    own = choice_of(chunk({"functionCall": {"id": "abc", "name": "f"}}))
    assert own.parts == (ToolCall("abc", "f", "{}", family=GEMINI.family),)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("STOP", Finish.STOP),
        (1, Finish.STOP),
        ("MAX_TOKENS", Finish.LENGTH),
        (3, Finish.FILTERED),
        ("RECITATION", Finish.FILTERED),
        ("IMAGE_SAFETY", Finish.FILTERED),
        ("MALFORMED_FUNCTION_CALL", Finish.MALFORMED),
        ("OTHER", Finish.UNKNOWN),
        ("NEVER_HEARD_OF", Finish.UNKNOWN),
        (99, Finish.UNKNOWN),
    ],
)
def test_each_finish_reason_has_its_meaning(word: Any, finish: Finish) -> None:
    assert choice_of(chunk({"text": "x"}, finish=word)).finish is finish


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    told = {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "No."}}
    assert choice_of(told) == Choice((Refusal("No."),), Finish.FILTERED, "SAFETY")
    stream = folded(events(told))
    assert stream.choices == (choice_of(told),)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"candidates": []}', b"[]", b"7", b"", b'{"candidates": [{"content": 7}]}', b"\xff"]
)
def test_what_is_no_answer_is_a_clean_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        GEMINI.decode_result(body)


def test_several_candidates_are_several_choices() -> None:
    told = {"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}}, {"content": {"parts": [{"text": "a"}]}}]}
    result = GEMINI.decode_result(msgspec.json.encode(told))
    assert [choice.parts for choice in result.choices] == [(Text("a"),), (Text("b"),)]


def test_all_that_is_counted_is_counted_once() -> None:
    usage = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 20,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 60,
        "totalTokenCount": 157,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 75}, {"modality": "AUDIO", "tokenCount": 25}],
        "candidatesTokensDetails": [{"modality": 4, "tokenCount": 9}],
    }
    found = GEMINI.decode_result(msgspec.json.encode(chunk({"text": "x"}, usage=usage))).usage
    assert found is not None
    assert (found.input_tokens, found.output_tokens, found.cached_input_tokens, found.reasoning_tokens) == (120, 37, 60, 7)
    assert (found.audio_input_tokens, found.audio_output_tokens) == (25, 9)


def test_counts_of_a_stream_replace_one_another() -> None:
    first = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5}
    last = {"promptTokenCount": 9, "candidatesTokenCount": 4}
    traffic = {"trafficType": "ON_DEMAND"}
    told = events(chunk({"text": "a"}, usage=first), chunk({"text": "b"}, usage=last), chunk(finish="STOP", usage=traffic))
    usage = folded(told).usage
    assert usage is not None and (usage.input_tokens, usage.output_tokens) == (9, 9)


@pytest.mark.parametrize("count", [-1, 2**60, "7", 1.5])
def test_a_count_that_is_none_is_suspect(count: Any) -> None:
    usage = GEMINI.decode_result(
        msgspec.json.encode(chunk(usage={"promptTokenCount": 3, "candidatesTokenCount": count}))
    ).usage
    assert usage is not None and usage.suspect and usage.input_tokens == 3


def test_probabilities_stand_with_the_text() -> None:
    one, two = {"token": "Hi", "logProbability": -0.5, "tokenId": 5}, {"token": "Ho", "logProbability": -1.5}
    told = {"chosenCandidates": [one], "topCandidates": [{"candidates": [one, two]}]}
    part = choice_of(chunk({"text": "Hi"}, logprobsResult=told)).parts[0]
    expected = (Logprob("Hi", -0.5, top=(Logprob("Hi", -0.5), Logprob("Ho", -1.5))),)
    assert isinstance(part, Text) and part.logprobs == expected
    assert folded(events(chunk({"text": "Hi"}, logprobsResult=told))).choices[0].parts[0] == part


def test_what_a_text_rests_on_is_cited_by_its_characters() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://x.test", "title": "X"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 5, "endIndex": 13, "text": "22 °C."}, "groundingChunkIndices": [0, 7]}
        ],
    }
    part = choice_of(chunk({"text": "é is 22 °C."}, groundingMetadata=grounding)).parts[0]
    assert isinstance(part, Text) and len(part.citations) == 1
    cited = part.citations[0]
    assert part.text[cited.start : cited.end] == cited.quote == "22 °C." and cited.url == "https://x.test"
    stream = folded(events(chunk({"text": "é is "}), chunk({"text": "22 °C."}, groundingMetadata=grounding, finish="STOP")))
    assert stream.choices[0].parts[0] == part


def test_offsets_are_in_bytes_where_no_quote_tells() -> None:
    recited = {"citations": [{"startIndex": 3, "endIndex": 6, "uri": "https://x.test"}]}
    part = choice_of(chunk({"text": "é äb"}, citationMetadata=recited)).parts[0]
    assert isinstance(part, Text)
    assert [part.text[one.start : one.end] for one in part.citations] == ["äb"]


def test_an_array_is_cut_where_its_members_end_whatever_their_texts_hold() -> None:
    told = [chunk({"text": 'a "}]{[\\" b\\'}), chunk({"text": "c"}, finish="STOP")]
    raw = json.dumps(told).encode()
    decoder = GEMINI.stream_decoder()
    found = [event for at in range(len(raw)) for event in decoder.feed(raw[at : at + 1])]
    assert decoder.finished
    assert [*found, *decoder.close()] == events(*told)


def test_sound_in_chunks_is_one_sound() -> None:
    sounds = [b"ab", b"cdef", b"g"]
    told = [
        chunk({"inlineData": {"mimeType": "audio/L16;rate=24000", "data": base64.b64encode(one).decode()}}) for one in sounds
    ]
    part = folded(events(*told, chunk(finish="STOP"))).choices[0].parts[0]
    assert isinstance(part, Audio) and base64.b64decode(part.source.data) == b"abcdefg"


def test_two_signed_texts_are_never_made_one() -> None:
    told = [
        chunk({"text": "a", "thoughtSignature": "1"}),
        chunk({"text": "b", "thoughtSignature": "2"}),
        chunk({"text": "c"}),
    ]
    parts = folded(events(*told)).choices[0].parts
    assert parts == (Text("a", signature="1"), Text("bc", signature="2"))


def test_an_error_in_a_stream_ends_it() -> None:
    busy = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    found = events(chunk({"text": "a"}), busy)
    assert found[-1] == Broken("overloaded_error", "The model is overloaded.", 503)


def test_noise_in_a_stream_is_a_clean_error() -> None:
    decoder = GEMINI.stream_decoder()
    for noise in (b"data: {not json\n\n", b"data: 7\n\n", b'data: {"candidates": [{"content": {"parts": [7]}}]}\n\n'):
        with pytest.raises(ValueError, match="no chunk"):
            decoder.feed(noise)
    assert decoder.feed(b": comment\n\n") == []


# -- errors ---------------------------------------------------------------------------------------------------


def test_a_google_error_tells_how_long_to_wait_and_which_field_was_wrong() -> None:
    details = [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "contents", "description": "x"}],
        },
    ]
    body = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": details}}
    told = GEMINI.decode_error(429, msgspec.json.encode([body]))
    assert (told.kind, told.code, told.param, told.retry_after_s) == (
        "rate_limit_error",
        "rate_limit_exceeded",
        "contents",
        1.5,
    )


def test_a_prompt_that_is_too_long_is_told_as_such() -> None:
    message = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    told = GEMINI.decode_error(400, msgspec.json.encode({"error": {"message": message, "status": "INVALID_ARGUMENT"}}))
    assert told.code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b'{"error": 7}', b'{"error": {"details": 5}}', b"\xff"])
def test_an_error_that_is_none_is_told_all_the_same(body: bytes) -> None:
    assert GEMINI.decode_error(502, body).message


# -- there and back -------------------------------------------------------------------------------------------

SIGNED = [
    chunk({"text": "hm", "thought": True}),
    chunk({"text": "Let me see", "thoughtSignature": "t"}),
    chunk(CALL, finish="STOP"),
]


def chat_turn(stream: bool) -> dict[str, Any]:
    query = OPENAI_CHAT.decode_query(b'{"messages": [{"role": "user", "content": "x"}]}')
    if not stream:
        found: dict[str, Any] = json.loads(OPENAI_CHAT.encode_result(folded(events(*SIGNED)), query))["choices"][0][
            "message"
        ]
        return found
    encoder = OPENAI_CHAT.stream_encoder(query)
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    for _, data in frames(b"".join(map(encoder.feed, events(*SIGNED)))):
        delta = json.loads(data)["choices"][0]["delta"]
        message["content"] += delta.get("content") or ""
        message |= {name: delta[name] for name in ("extra_content",) if name in delta}
        for call in delta.get("tool_calls", []):
            if call.get("id"):
                message["tool_calls"].append(call)
            else:
                message["tool_calls"][-1]["function"]["arguments"] += call["function"]["arguments"]
    return message


def next_turn(caller: CallerSide, said: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    turns = [{"role": "user", "content": "x"}, said, result]
    query = caller.decode_query(msgspec.json.encode({"messages": turns, "max_tokens": 9}))
    contents = json.loads(GEMINI.encode_query(query, "gemini-3-flash-preview", "p/m").body)["contents"]
    found: list[dict[str, Any]] = contents[1]["parts"]
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_caller_brings_signatures_back(stream: bool) -> None:
    said = chat_turn(stream)
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "ok"}
    parts = next_turn(OPENAI_CHAT, said, result)
    assert parts[0] == {"text": "Let me see", "thoughtSignature": "t"}
    assert parts[1]["thoughtSignature"] == "sig" and parts[1]["functionCall"]["args"] == {"city": "Rome"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_messages_caller_brings_signatures_back(stream: bool) -> None:
    query = ANTHROPIC.decode_query(b'{"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}')
    told = events(*SIGNED)
    if stream:
        encoder, decoder = ANTHROPIC.stream_encoder(query), ANTHROPIC.stream_decoder()
        heard = [event for one in told for event in decoder.feed(encoder.feed(one))] + list(decoder.feed(encoder.close()))
        body = ANTHROPIC.encode_result(folded(heard), query)
    else:
        body = ANTHROPIC.encode_result(folded(told), query)
    content = json.loads(body)["content"]
    call = next(block for block in content if block["type"] == "tool_use")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}]}
    parts = next_turn(ANTHROPIC, {"role": "assistant", "content": content}, result)
    assert [part.get("thoughtSignature") for part in parts] == [None, "t", "sig"]
    assert parts[0] == {"text": "Let me see"} and parts[2]["functionCall"]["name"] == "weather"


def test_a_chat_caller_sees_the_image_that_was_made() -> None:
    made = chunk({"inlineData": {"mimeType": "image/png", "data": "AA=="}}, finish="STOP")
    query = OPENAI_CHAT.decode_query(b'{"messages": [{"role": "user", "content": "x"}]}')
    whole = json.loads(OPENAI_CHAT.encode_result(folded(events(made)), query))["choices"][0]["message"]
    encoder = OPENAI_CHAT.stream_encoder(query)
    deltas = [json.loads(data)["choices"][0]["delta"] for _, data in frames(b"".join(map(encoder.feed, events(made))))]
    assert whole["images"] == next(delta["images"] for delta in deltas if "images" in delta)
    assert whole["images"][0]["image_url"]["url"] == "data:image/png;base64,AA=="
