"""Ollama's own chat (`/api/chat`): what is said in it to a server of Ollama's."""

from router.domain.chat import ChatQuery, ChatResult, Family
from router.providers.codec import Encoded, StreamDecoder, ToldError
from router.providers.ollama.answers_in import OllamaStreamDecoder, decode_result
from router.providers.ollama.query_out import encode_query
from router.providers.openai_chat_codec.errors_in import decode_error


class OllamaChat:
    """A TargetSide."""

    family = Family.OLLAMA
    takes_free_text = False

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        return encode_query(query, model, target)

    def decode_result(self, answer: bytes) -> ChatResult:
        return decode_result(answer)

    def stream_decoder(self) -> StreamDecoder:
        return OllamaStreamDecoder()

    def decode_error(self, status: int, body: bytes) -> ToldError:
        """`{"error": text}`, which Chat Completions' reader knows."""
        return decode_error(status, body)


OLLAMA_CHAT = OllamaChat()
