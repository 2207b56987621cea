"""Embeddings and moderations: one JSON answer, no stream, no output tokens."""

from dataclasses import dataclass

from router.domain.requests import ModelRequest
from router.domain.usage import NOTHING, Usage
from router.providers.answers import counts_in
from router.providers.dialect import Cap
from router.providers.openai_chat import ChatMeter
from router.providers.passthrough import passed_body


@dataclass(frozen=True, slots=True)
class MediaDialect:
    """`is_metered` False: an API that counts no tokens, so that an answer without usage has used nothing."""

    path: str
    is_metered: bool

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        return passed_body(request, upstream_model, inject_usage=False)

    def usage_of(self, answer: bytes) -> Usage | None:
        counts = counts_in(answer)
        if counts is not None:
            return counts.usage(has_output=False)
        return None if self.is_metered else NOTHING

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> ChatMeter:
        """These APIs do not stream; one that does all the same is watched as the rest of the family."""
        return ChatMeter(1, hides_usage=False)


EMBEDDINGS = MediaDialect("/embeddings", is_metered=True)
MODERATIONS = MediaDialect("/moderations", is_metered=False)
