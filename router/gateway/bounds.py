"""What an attempt can cost at most: a provable bound from the request's bytes, or from a count of its tokens. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.json_scan import top_level_members
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import PER_MILLION, NanoUSD, Price
from router.gateway.searches import most_searches

TOKENS_PER_BYTE = 1
"""A byte-level tokenizer never makes more than one token of a byte."""

_TEMPLATE_TOKENS = 64
"""What a chat template adds around the messages; per message it is within the bytes of its JSON."""

_TOOLS_TOKENS = 1024
"""What providers write around tools or the schema of an answer, whatever their size (Anthropic 346 and more)."""

_IMAGE_TOKENS = 50_000
"""The most an image in the body is billed as: its bytes do not show its size (gpt-4o-mini: 2,833 and 8 x 5,667)."""

_OUTPUTLESS = frozenset({Api.EMBEDDINGS, Api.MODERATIONS, Api.RERANK, Api.COUNT_TOKENS})

# Names that make a second look necessary, found in one pass. Quotes are escaped inside JSON strings, so these are keys and
# never text.
_TELLING = re.compile(
    rb'"(image_url|url|file_data|file_id|file_url|previous_response_id|conversation|prediction|web_search_options|tools'
    rb"|functions|response_format|text|n|best_of|prompt|media_type|container|mcp_servers|speed|output_config|output_format"
    rb'|context_management)"\s*:'
)
# Content whose size the body does not show.
_HIDDEN = (
    ("image_url", re.compile(rb'"(?:image_url|url)"\s*:\s*"(?!(?i:data:(?:image|audio)/))[a-zA-Z][a-zA-Z0-9+.-]*:')),
    ("file_data", re.compile(rb'"file_data"\s*:\s*"')),
    ("file_id", re.compile(rb'"file_id"\s*:\s*"')),
    ("file_url", re.compile(rb'"file_url"\s*:\s*"')),
    ("previous_response_id", re.compile(rb'"previous_response_id"\s*:\s*"')),
    ("conversation", re.compile(rb'"conversation"\s*:\s*["{]')),
    ("prediction", re.compile(rb'"prediction"\s*:\s*\{')),
    ("web_search_options", re.compile(rb'"web_search_options"\s*:\s*\{')),
    ("tools", re.compile(rb'"type"\s*:\s*"(?:web_search|file_search|code_interpreter|computer_use|image_generation|mcp)')),
    ("tools", re.compile(rb'"type"\s*:\s*"(?:web_fetch|code_execution|tool_search|advisor|[a-z]+_toolset)_')),
    ("media_type", re.compile(rb'"media_type"\s*:\s*"(?i:application/pdf)"')),
    ("container", re.compile(rb'"container"\s*:\s*["{]')),
    ("mcp_servers", re.compile(rb'"mcp_servers"\s*:\s*\[\s*\{')),
    ("speed", re.compile(rb'"speed"\s*:\s*"fast"')),
    ("context_management", re.compile(rb'"type"\s*:\s*"compact_')),
)
_REFERENCE = re.compile(rb'"type"\s*:\s*"item_reference"')
_IMAGE = re.compile(rb'"(?i:data:image/)|"media_type"\s*:\s*"(?i:image/)')
_SCHEMA = re.compile(rb'"(?:tools|functions|response_format|text|output_config|output_format)"\s*:\s*[\[{]')
_KNOWN_TOOL = re.compile(rb'"type"\s*:\s*"(?:bash|text_editor|computer|memory)_\d')
_COUNTS = (b"n", b"best_of", b"prompt")
_ESCAPED = re.compile(rb"\\u00(?!22|5[cC])([2-7][0-9a-fA-F])")


class Bound(msgspec.Struct, frozen=True):
    """`amount` is what must be set aside. `output_tokens` is the most the answer may hold in all its choices, None where
    the amount was set by hand; `cap` is the output cap to send upstream because the caller gave none."""

    amount: NanoUSD
    output_tokens: int | None
    cap: int | None


_FREE = Bound(NanoUSD(0), 0, None)


def bound_of(request: ModelRequest, candidate: Candidate, price: Price, counted: int | None = None) -> Bound:
    """The bound for one attempt; `counted` is how many tokens the body is at most, None where its bytes must say it.

    Raises UnsupportedFeature or InvalidRequest naming what makes it impossible to give.
    """
    alias = candidate.alias
    if alias.max_request is not None:
        return Bound(alias.max_request, None, _injected(request, alias.max_output_tokens))
    if request.api is Api.COUNT_TOKENS:
        return _FREE
    input_tokens = (len(request.body) * TOKENS_PER_BYTE if counted is None else counted) + _TEMPLATE_TOKENS
    body = _plain(request.outline or request.body)
    if told := _TELLING.findall(body):
        _refuse(next((name for name, pattern in _HIDDEN if pattern.search(body)), None), candidate)
        _refuse_repeated(request.body, told)
        input_tokens += _IMAGE_TOKENS * len(_IMAGE.findall(body)) + _TOOLS_TOKENS * bool(_SCHEMA.search(body))
        input_tokens += _TOOLS_TOKENS * len(_KNOWN_TOOL.findall(body))
    if request.api is Api.RESPONSES:
        _refuse(_remembered(request, body), candidate)
    if request.api in _OUTPUTLESS:
        searches = most_searches(request.body) if request.api is Api.RERANK and price.search else 0
        return Bound(_cost(input_tokens, 0, price, searches), 0, None)
    if (request.fields.max_completion_tokens or 0) < 0:
        # A provider that knows both names may obey this one, whatever cap is set beside it.
        name = "max_completion_tokens"
        raise InvalidRequest(f"{name}: -1 is no cap, and a hard budget needs one", param=name)
    cap = request.output_cap
    if cap is None:
        cap = alias.max_output_tokens
    if cap is None:
        raise InvalidRequest(
            f"a hard budget needs an output cap: send max_tokens, or set max_output_tokens of {alias.name!r}",
            param="max_tokens",
        )
    output_tokens = cap * request.answers
    if price.cache_write_1h is not None and b'"1h"' in body:
        price = replace(price, input=max(price.dearest_input, price.cache_write_1h))
    return Bound(_cost(input_tokens, output_tokens, price), output_tokens, _injected(request, cap))


def _cost(input_tokens: int, output_tokens: int, price: Price, searches: int = 0) -> NanoUSD:
    total = input_tokens * price.dearest_input + output_tokens * price.dearest_output + searches * (price.search or 0)
    return NanoUSD(-(-total // PER_MILLION))


def _injected(request: ModelRequest, cap: int | None) -> int | None:
    return cap if request.output_cap is None and request.api not in _OUTPUTLESS else None


def _plain(body: bytes) -> bytes:
    """The body with its escaped letters written out, for searching: no name and no scheme can hide behind them."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), body) if b"\\" in body and b"\\u00" in body else body


def _refuse_repeated(body: bytes, told: Sequence[bytes]) -> None:
    """Of two equal names a provider may read another one than we did."""
    if all(told.count(name) <= 1 for name in _COUNTS):
        return
    names = Counter(member.name.encode() for member in top_level_members(body))
    for name in _COUNTS:
        if names[name] > 1:
            raise InvalidRequest(f"the name {name.decode()!r} occurs twice; keep one", param=name.decode())


def _remembered(request: ModelRequest, body: bytes) -> str | None:
    """What Responses puts in from what the provider keeps: earlier items, and prompts that are stored there."""
    if isinstance(request.fields.prompt, dict):
        return "prompt"
    return "input" if _REFERENCE.search(body) else None


def _refuse(found: str | None, candidate: Candidate) -> None:
    """What a provider will fetch or remember cannot be bounded from here."""
    if found is not None:
        raise UnsupportedFeature(
            f"{found}: its size cannot be known under a hard budget; set max_request_usd of {candidate.alias.name!r} "
            f"to what one request may cost (target {candidate.target.id})",
            param=found,
        )
