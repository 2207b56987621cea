"""Cohere's chat, version 2: what is said in it to Cohere."""

from typing import Any

import msgspec

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.codec import Encoded, StreamDecoder, ToldError
from router.providers.cohere.query_out import encode_query
from router.providers.cohere.result_in import decode_result
from router.providers.cohere.stream_in import CohereStreamDecoder
from router.providers.openai_chat_codec.shapes import text_of

_MOST = 2000


class CohereChat:
    """A TargetSide."""

    family = Family.COHERE
    takes_free_text = False

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return CohereStreamDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


def decode_error(status: int, body: bytes) -> ToldError:
    """A message, and for some errors a word for what it is. Never raises."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = {"message": body[:_MOST].decode(errors="replace").strip()}
    found = told if isinstance(told, dict) else {}
    message = text_of(found.get("message"))[:_MOST]
    return ToldError(message or f"the provider answered HTTP {status}", code=text_of(found.get("error_type")) or None)


COHERE_CHAT = CohereChat()
