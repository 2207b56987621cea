"""The Responses API, both sides: what callers say in it, and what is said in it to OpenAI and to those who speak like it."""

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.codec import Encoded, StreamDecoder, StreamEncoder, ToldError
from router.providers.openai_chat_codec.errors_in import decode_error
from router.providers.openai_responses_codec.query_in import decode_query
from router.providers.openai_responses_codec.query_out import encode_query
from router.providers.openai_responses_codec.result_in import decode_result
from router.providers.openai_responses_codec.result_out import encode_result
from router.providers.openai_responses_codec.stream_in import ResponsesStreamDecoder
from router.providers.openai_responses_codec.stream_out import ResponsesStreamEncoder


class OpenAIResponses:
    """A CallerSide and a TargetSide."""

    family = Family.RESPONSES
    takes_free_text = True

    def decode_query(self, body: bytes) -> ChatQuery:
        return decode_query(body)

    def encode_result(self, result: ChatResult, query: ChatQuery) -> bytes:
        return encode_result(result, query)

    def stream_encoder(self, query: ChatQuery) -> StreamEncoder:
        return ResponsesStreamEncoder(query)

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return ResponsesStreamDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


OPENAI_RESPONSES = OpenAIResponses()
