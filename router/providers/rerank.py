"""Rerank in the shape that Cohere and Jina share, among those who speak it: the bytes pass."""

from dataclasses import dataclass

import msgspec

from router.domain.requests import ModelRequest
from router.domain.usage import Usage
from router.providers.answers import counts_in
from router.providers.dialect import Cap
from router.providers.openai_chat import ChatMeter
from router.providers.passthrough import passed_body
from router.providers.usage import MAX_COUNT


class _Billed(msgspec.Struct):
    search_units: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class _Answer(msgspec.Struct):
    meta: _Meta | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class RerankDialect:
    path: str = "/rerank"

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        return passed_body(request, upstream_model, inject_usage=False)

    def usage_of(self, answer: bytes) -> Usage | None:
        """One that is answered is a search, where the provider does not say how many. Tokens where it counts them (Jina,
        Voyage, vLLM); None where it says neither."""
        counts = counts_in(answer)
        usage = None if counts is None else counts.usage(has_output=False)
        searches = _searches(answer)
        if usage is None:
            return None if searches is None else Usage(searches=searches)
        return msgspec.structs.replace(usage, searches=1 if searches is None else searches)

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> ChatMeter:
        """This API does not stream; one that does all the same is watched as the rest of the family."""
        return ChatMeter(1, hides_usage=False)


def _searches(answer: bytes) -> int | None:
    try:
        meta = _ANSWER.decode(answer).meta
    except (msgspec.MsgspecError, RecursionError):
        return None
    units = None if meta is None or meta.billed_units is None else meta.billed_units.search_units
    return None if units is None or not 0 <= units <= MAX_COUNT else -int(-units // 1)


RERANK = RerankDialect()
