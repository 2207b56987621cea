"""Converse and ConverseStream for translation: to Bedrock's models, and what they answer."""

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.bedrock.answer import decode_result
from router.providers.bedrock.errors import decode_error
from router.providers.bedrock.eventstream import MEDIA_TYPE, MessageSplitter, count_messages, messages
from router.providers.bedrock.query_out import encode_query
from router.providers.bedrock.stream import ConverseDecoder
from router.providers.codec import Encoded, StreamDecoder, ToldError
from router.providers.translated import Framing


class BedrockConverse:
    """A target's side; see providers.codec for what it promises."""

    family = Family.BEDROCK
    takes_free_text = False

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return ConverseDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


BEDROCK = BedrockConverse()
EVENT_STREAM = Framing(MEDIA_TYPE, MessageSplitter, messages, count_messages)
