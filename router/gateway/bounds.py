"""What an attempt can cost at most: a provable bound from the request's bytes, without a tokenizer. Pure."""

import re

import msgspec

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import PER_MILLION, NanoUSD, Price

TOKENS_PER_BYTE = 1
"""A byte-level tokenizer never makes more than one token of a byte."""

_TEMPLATE_TOKENS = 64
"""What a chat template adds around the messages; per message it is within the bytes of its JSON."""

_OUTPUTLESS = frozenset({Api.EMBEDDINGS, Api.MODERATIONS})

# Content whose size the body does not show. Quotes are escaped inside JSON strings, so these are keys and never text.
_HIDDEN = (
    ("image_url", re.compile(rb'"(?:image_url|url)"\s*:\s*"https?:')),
    ("file_id", re.compile(rb'"file_id"\s*:\s*"')),
    ("file_url", re.compile(rb'"file_url"\s*:\s*"')),
    ("previous_response_id", re.compile(rb'"previous_response_id"\s*:\s*"')),
    ("conversation", re.compile(rb'"conversation"\s*:\s*["{]')),
    ("tools", re.compile(rb'"type"\s*:\s*"(?:web_search|file_search|code_interpreter|computer_use|image_generation|mcp)')),
)


class Bound(msgspec.Struct, frozen=True):
    """`amount` is what must be set aside. `output_tokens` is the most the answer may hold in all its choices, None where
    the amount was set by hand; `cap` is the output cap to send upstream because the caller gave none."""

    amount: NanoUSD
    output_tokens: int | None
    cap: int | None


def bound_of(request: ModelRequest, candidate: Candidate, price: Price) -> Bound:
    """The bound for one attempt. Raises UnsupportedFeature or InvalidRequest naming what makes it impossible to give."""
    alias = candidate.alias
    if alias.max_request is not None:
        return Bound(alias.max_request, None, _injected(request, alias.max_output_tokens))
    _refuse_hidden(request, candidate)
    input_tokens = len(request.body) * TOKENS_PER_BYTE + _TEMPLATE_TOKENS
    if request.api in _OUTPUTLESS:
        return Bound(_cost(input_tokens, 0, price), 0, None)
    cap = request.output_cap
    if cap is None:
        cap = alias.max_output_tokens
    if cap is None:
        raise InvalidRequest(
            f"a hard budget needs an output cap: send max_tokens, or set max_output_tokens of {alias.name!r}",
            param="max_tokens",
        )
    output_tokens = cap * request.answers
    return Bound(_cost(input_tokens, output_tokens, price), output_tokens, _injected(request, cap))


def _cost(input_tokens: int, output_tokens: int, price: Price) -> NanoUSD:
    dearest_in = max(price.input, price.cached_input or 0, price.cache_write or 0, price.audio_input or 0)
    dearest_out = max(price.output, price.reasoning or 0, price.audio_output or 0)
    return NanoUSD(-(-(input_tokens * dearest_in + output_tokens * dearest_out) // PER_MILLION))


def _injected(request: ModelRequest, cap: int | None) -> int | None:
    return cap if request.output_cap is None and request.api not in _OUTPUTLESS else None


def _refuse_hidden(request: ModelRequest, candidate: Candidate) -> None:
    """What a provider will fetch or remember cannot be bounded from here."""
    found = next((name for name, pattern in _HIDDEN if pattern.search(request.body)), None)
    if found is not None:
        raise UnsupportedFeature(
            f"{found}: its size cannot be known under a hard budget; set max_request_usd of {candidate.alias.name!r} "
            f"to what one request may cost (target {candidate.target.id})",
            param=found,
        )
