"""Chat Completions, both sides: what callers say in it, and what is said in it to OpenAI and to those who speak like it."""

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.codec import Encoded, StreamDecoder, StreamEncoder, ToldError
from router.providers.openai_chat_codec.accents import OPENAI, Accent
from router.providers.openai_chat_codec.errors_in import decode_error
from router.providers.openai_chat_codec.query_in import decode_query
from router.providers.openai_chat_codec.query_out import encode_query
from router.providers.openai_chat_codec.result_in import decode_result
from router.providers.openai_chat_codec.result_out import encode_result
from router.providers.openai_chat_codec.stream_in import ChatStreamDecoder
from router.providers.openai_chat_codec.stream_out import ChatStreamEncoder


class OpenAIChat:
    """A CallerSide and a TargetSide; `accent` is how the server spoken to differs."""

    family = Family.CHAT

    def __init__(self, accent: Accent = OPENAI) -> None:
        self._accent = accent
        self.takes_free_text = accent.has_custom_tools

    def decode_query(self, body: bytes) -> ChatQuery:
        return decode_query(body)

    def encode_result(self, result: ChatResult, query: ChatQuery) -> bytes:
        return encode_result(result, query)

    def stream_encoder(self, query: ChatQuery) -> StreamEncoder:
        return ChatStreamEncoder(query)

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target, self._accent)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return ChatStreamDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


OPENAI_CHAT = OpenAIChat()
