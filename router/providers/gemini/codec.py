"""generateContent for translation, to the Gemini API and to Vertex; and Claude on Vertex, which speaks Messages there."""

import msgspec

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.codec import Encoded, StreamDecoder, ToldError
from router.providers.gemini.errors import decode_error
from router.providers.gemini.query_out import GEMINI_API, Flavour, encode_query
from router.providers.gemini.result_in import decode_result
from router.providers.gemini.stream_in import GeminiStreamDecoder

VERTEX_ANTHROPIC_VERSION = "vertex-2023-10-16"
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class GeminiCodec:
    """A TargetSide; see providers.codec for what it promises."""

    family = Family.GEMINI
    takes_free_text = False

    def __init__(self, flavour: Flavour = GEMINI_API) -> None:
        self._flavour = flavour

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target, self._flavour)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return GeminiStreamDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


class ClaudeOnVertex:
    """Messages, but that the URL names the model and the body the version. Its errors are Anthropic's, or Google's where a
    request did not get that far."""

    family = Family.ANTHROPIC
    takes_free_text = False

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        encoded = ANTHROPIC.encode_query(query, model, target)
        members = _MEMBERS.decode(encoded.body)
        del members["model"]
        version = {"anthropic_version": VERTEX_ANTHROPIC_VERSION}
        return Encoded(msgspec.json.encode(version | members), encoded.dropped)

    def decode_result(self, answer: bytes) -> ChatResult:
        return ANTHROPIC.decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return ANTHROPIC.stream_decoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        if b'"type"' in body and b'"status"' not in body:
            return ANTHROPIC.decode_error(status, body)
        return decode_error(status, body)


CLAUDE_ON_VERTEX = ClaudeOnVertex()
