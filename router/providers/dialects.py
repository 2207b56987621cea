"""The dialects whose callers and providers speak the same: their bytes pass. One row an API."""

from collections.abc import Mapping

from router.domain.requests import Api
from router.providers import openai_chat, openai_media, openai_responses, rerank
from router.providers.anthropic import messages
from router.providers.dialect import Dialect

DIALECTS: Mapping[Api, Dialect] = {
    Api.CHAT: openai_chat.CHAT,
    Api.COMPLETIONS: openai_chat.COMPLETIONS,
    Api.RESPONSES: openai_responses.RESPONSES,
    Api.EMBEDDINGS: openai_media.EMBEDDINGS,
    Api.MODERATIONS: openai_media.MODERATIONS,
    Api.RERANK: rerank.RERANK,
    Api.MESSAGES: messages.MESSAGES,
    Api.COUNT_TOKENS: messages.COUNT_TOKENS,
}
