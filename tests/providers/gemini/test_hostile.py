"""Whatever bytes come, the codec says so cleanly: no other exception than its own."""

import json
from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.chat import ChatQuery, Family
from router.domain.folding import Fold
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.gemini.codec import GeminiCodec
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from tests.providers.hostile_json import mutated, values_of

GEMINI = GeminiCodec()
NAMES = (
    "candidates content parts text thought thoughtSignature functionCall name args id inlineData mimeType data "
    "fileData fileUri finishReason index promptFeedback blockReason usageMetadata promptTokenCount "
    "candidatesTokenCount promptTokensDetails modality tokenCount logprobsResult chosenCandidates topCandidates "
    "token logProbability groundingMetadata groundingChunks groundingSupports segment startIndex endIndex "
    "groundingChunkIndices web uri citationMetadata citations createTime error code status message details "
    "retryDelay responseId modelVersion"
).split()
values = values_of(NAMES, ["STOP", "SAFETY", "AUDIO", "image/png", "audio/L16", "2026-01-01T00:00:00Z", "1.5s"])
CHUNK = {
    "candidates": [
        {
            "index": 0,
            "content": {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True},
                    {"text": "ü", "thoughtSignature": "s"},
                    {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s"},
                    {"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}},
                ],
            },
            "finishReason": "STOP",
            "logprobsResult": {
                "chosenCandidates": [{"token": "x", "logProbability": -1}],
                "topCandidates": [{"candidates": [{"token": "x", "logProbability": -1}]}],
            },
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
                "groundingSupports": [
                    {"segment": {"startIndex": 0, "endIndex": 2, "text": "ü"}, "groundingChunkIndices": [0]}
                ],
            },
            "citationMetadata": {"citations": [{"startIndex": 0, "endIndex": 1, "uri": "u"}]},
        }
    ],
    "usageMetadata": {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}]},
    "createTime": "2026-01-01T00:00:00Z",
    "responseId": "r",
}
ERROR = {"error": {"code": 429, "message": "m", "status": "S", "details": [{"@type": "a.RetryInfo", "retryDelay": "1s"}]}}


def check_answer(body: bytes) -> None:
    with suppress(ValueError):
        result = GEMINI.decode_result(body)
        for caller in (OPENAI_CHAT, ANTHROPIC):
            json.loads(caller.encode_result(result, ChatQuery(Family.CHAT, ())))


def check_stream(*pieces: bytes) -> None:
    decoder, fold = GEMINI.stream_decoder(), Fold()
    encoders = [caller.stream_encoder(ChatQuery(Family.CHAT, ())) for caller in (OPENAI_CHAT, ANTHROPIC)]
    with suppress(ValueError):
        for piece in pieces:
            for event in decoder.feed(piece):
                fold.feed(event)
                for encoder in encoders:
                    encoder.feed(event)
        for event in decoder.close():
            fold.feed(event)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), values)
def test_noise_gives_clean_errors(noise: bytes, value: object) -> None:
    for body in (noise, msgspec.json.encode(value)):
        check_answer(body)
        check_stream(b"data: " + body + b"\n\n")
        check_stream(b"[" + body)
        assert GEMINI.decode_error(400, body).message


@settings(max_examples=300, deadline=None)
@given(mutated(CHUNK, values), mutated(CHUNK, values), mutated(ERROR, values))
def test_a_value_of_another_kind_gives_clean_errors(first: object, second: object, error: object) -> None:
    bodies = [msgspec.json.encode(one) for one in (first, second)]
    check_answer(bodies[0])
    check_stream(*(b"data: " + body + b"\n\n" for body in bodies))
    check_stream(b"[" + b",".join(bodies) + b"]")
    check_stream(b"data: " + msgspec.json.encode(error) + b"\n\n")
    assert GEMINI.decode_error(500, msgspec.json.encode(error)).message
