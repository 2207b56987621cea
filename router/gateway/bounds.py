"""What an attempt can cost at most: a provable bound from the request's bytes, or from a count of its tokens. Pure."""

import re
from collections import Counter

import msgspec

from router.domain.errors import InvalidRequest, PriceUnknown, UnsupportedFeature
from router.domain.json_scan import top_level_members
from router.domain.requests import TELLING, Api, ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import PER_MILLION, NanoUSD
from router.gateway.searches import most_searches

TOKENS_PER_BYTE = 1
"""A byte-level tokenizer never makes more than one token of a byte."""

_TEMPLATE_TOKENS = 64
"""What a chat template adds around the messages; per message it is within the bytes of its JSON."""

_TOOLS_TOKENS = 1024
"""What providers write around tools or the schema of an answer, whatever their size (Anthropic 346 and more)."""

_IMAGE_TOKENS = 50_000
"""The most an image in the body is billed as: its bytes do not show its size (gpt-4o-mini: 2,833 and 8 x 5,667)."""

_COUNT_TOKENS = Api.COUNT_TOKENS
_OUTPUTLESS = frozenset({Api.EMBEDDINGS, Api.MODERATIONS, Api.RERANK, Api.COUNT_TOKENS})

_TELLING = frozenset(name.encode() for name in TELLING)


def _re(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


_ELSEWHERE = "(?!(?i:data:(?:image|audio)/))[a-zA-Z][a-zA-Z0-9+.-]*:"
# Content whose size the body does not show: the name without which there is none, what it is called, how it is written.
# Quotes are escaped inside JSON strings, so these are names and whole values and never text.
_HIDDEN = (
    (b"image_url", "image_url", _re(r'"image_url"\s*:\s*"' + _ELSEWHERE)),
    (b"url", "image_url", _re(r'"url"\s*:\s*"' + _ELSEWHERE)),
    (b"file_data", "file_data", _re(r'"file_data"\s*:\s*"')),
    (b"file_id", "file_id", _re(r'"file_id"\s*:\s*"')),
    (b"file_url", "file_url", _re(r'"file_url"\s*:\s*"')),
    (b"previous_response_id", "previous_response_id", _re(r'"previous_response_id"\s*:\s*"')),
    (b"conversation", "conversation", _re(r'"conversation"\s*:\s*["{]')),
    (b"prediction", "prediction", _re(r'"prediction"\s*:\s*\{')),
    (b"web_search_options", "web_search_options", _re(r'"web_search_options"\s*:\s*\{')),
    (b"tools", "tools", _re(r'"type"\s*:\s*"(?:web_search|file_search|code_interpreter|computer_use|image_generation|mcp)')),
    (b"tools", "tools", _re(r'"type"\s*:\s*"(?:web_fetch|code_execution|tool_search|advisor|[a-z]+_toolset)_')),
    (b"media_type", "media_type", _re(r'"media_type"\s*:\s*"(?i:application/pdf)"')),
    (b"container", "container", _re(r'"container"\s*:\s*["{]')),
    (b"mcp_servers", "mcp_servers", _re(r'"mcp_servers"\s*:\s*\[\s*\{')),
    (b"speed", "speed", _re(r'"speed"\s*:\s*"fast"')),
    (b"context_management", "context_management", _re(r'"type"\s*:\s*"compact_')),
)
_REFERENCE = _re(r'"type"\s*:\s*"item_reference"')
_IMAGE = _re(r'"(?i:data:image/)|"media_type"\s*:\s*"(?i:image/)')
_SCHEMA = _re(r'"(?:tools|functions|response_format|text|output_config|output_format)"\s*:\s*[\[{]')
_SCHEMAS = frozenset({b"tools", b"functions", b"response_format", b"text", b"output_config", b"output_format"})
_KNOWN_TOOL = _re(r'"type"\s*:\s*"(?:bash|text_editor|computer|memory)_\d')
_COUNTS = frozenset({b"n", b"best_of", b"prompt"})


class Bound(msgspec.Struct, frozen=True, gc=False):
    """`amount` is what must be set aside. `output_tokens` is the most the answer may hold in all its choices, None where
    the amount was set by hand; `cap` is the output cap to send upstream because the caller gave none."""

    amount: NanoUSD
    output_tokens: int | None
    cap: int | None


_FREE = Bound(NanoUSD(0), 0, None)


def bound_of(request: ModelRequest, candidate: Candidate, counted: int | None = None) -> Bound:
    """The bound for one attempt; `counted` is how many tokens the body is at most, None where its bytes must say it.

    Raises PriceUnknown, and UnsupportedFeature or InvalidRequest naming what makes it impossible to give.
    """
    alias, price = candidate.alias, candidate.target.price
    if price is None:
        raise PriceUnknown(
            f"{candidate.target.id} has no known price, and a hard budget cannot be kept without one", param="model"
        )
    if alias.max_request is not None:
        return Bound(alias.max_request, None, _injected(request, alias.max_output_tokens))
    api = request.api
    if api is _COUNT_TOKENS:
        return _FREE
    assert request.outline, "nobody has looked what stands in it"
    input_tokens = (len(request.body) * TOKENS_PER_BYTE if counted is None else counted) + _TEMPLATE_TOKENS
    answers = 1
    if not _TELLING.isdisjoint(request.quoted):
        input_tokens += _told_tokens(request, candidate)
        answers = request.answers
    if api in _OUTPUTLESS:
        amount = input_tokens * price.dearest_input
        if api is Api.RERANK and price.search:
            amount += most_searches(request.body) * price.search
        return Bound(NanoUSD(-(-amount // PER_MILLION)), 0, None)
    if (request.fields.max_completion_tokens or 0) < 0:
        # A provider that knows both names may obey this one, whatever cap is set beside it.
        name = "max_completion_tokens"
        raise InvalidRequest(f"{name}: -1 is no cap, and a hard budget needs one", param=name)
    cap = given = request.output_cap
    if cap is None:
        cap = alias.max_output_tokens
    if cap is None:
        raise InvalidRequest(
            f"a hard budget needs an output cap: send max_tokens, or set max_output_tokens of {alias.name!r}",
            param="max_tokens",
        )
    output_tokens = cap * answers
    dearest_input = price.dearest_input
    if price.cache_write_1h is not None and b"1h" in request.quoted:
        dearest_input = max(dearest_input, price.cache_write_1h)
    amount = input_tokens * dearest_input + output_tokens * price.dearest_output
    return Bound(NanoUSD(-(-amount // PER_MILLION)), output_tokens, cap if given is None else None)


def _injected(request: ModelRequest, cap: int | None) -> int | None:
    return cap if request.output_cap is None and request.api not in _OUTPUTLESS else None


def _told_tokens(request: ModelRequest, candidate: Candidate) -> int:
    """What a provider puts beside the body, or makes of it. Raises what `bound_of` does."""
    quoted, text = request.quoted, request.outline
    _refuse(next((what for name, what, how in _HIDDEN if name in quoted and how.search(text)), None), candidate)
    if not _COUNTS.isdisjoint(request.repeated):
        _refuse_repeated(request.body)
    if request.api is Api.RESPONSES:
        _refuse(_remembered(request), candidate)
    tokens = _IMAGE_TOKENS * len(_IMAGE.findall(text))
    if not _SCHEMAS.isdisjoint(quoted):
        tokens += _TOOLS_TOKENS * bool(_SCHEMA.search(text))
    if b"tools" in quoted:
        tokens += _TOOLS_TOKENS * len(_KNOWN_TOOL.findall(text))
    return tokens


def _refuse_repeated(body: bytes) -> None:
    """Of two equal names a provider may read another one than we did."""
    names = Counter(member.name for member in top_level_members(body))
    for name in ("n", "best_of", "prompt"):
        if names[name] > 1:
            raise InvalidRequest(f"the name {name!r} occurs twice; keep one", param=name)


def _remembered(request: ModelRequest) -> str | None:
    """What Responses puts in from what the provider keeps: earlier items, and prompts that are stored there."""
    if isinstance(request.fields.prompt, dict):
        return "prompt"
    return "input" if b"item_reference" in request.quoted and _REFERENCE.search(request.outline) else None


def _refuse(found: str | None, candidate: Candidate) -> None:
    """What a provider will fetch or remember cannot be bounded from here."""
    if found is not None:
        raise UnsupportedFeature(
            f"{found}: its size cannot be known under a hard budget; set max_request_usd of {candidate.alias.name!r} "
            f"to what one request may cost (target {candidate.target.id})",
            param=found,
        )
