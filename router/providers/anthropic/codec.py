"""The Messages API for translation: to and from Anthropic's providers, and to and from its callers."""

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.anthropic.errors import decode_error
from router.providers.anthropic.query_in import decode_query
from router.providers.anthropic.query_out import encode_query
from router.providers.anthropic.result import decode_result, encode_result
from router.providers.anthropic.stream_in import MessagesDecoder
from router.providers.anthropic.stream_out import MessagesEncoder
from router.providers.codec import Encoded, StreamDecoder, StreamEncoder, ToldError


class AnthropicCodec:
    """Both sides; see providers.codec for what each promises."""

    family = Family.ANTHROPIC
    takes_free_text = False

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return MessagesDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)

    def decode_query(self, body: bytes) -> ChatQuery:
        return decode_query(body)

    def encode_result(self, result: ChatResult, query: ChatQuery) -> bytes:
        return encode_result(result, query)

    def stream_encoder(self, query: ChatQuery) -> StreamEncoder:
        return MessagesEncoder()


ANTHROPIC = AnthropicCodec()
