"""Whether a request is certain to be too long for a target, before it is sent; never where the target might take it.

Only texts count, by the tokenizer where it is known, else by the longest token there is; what is beside them only adds.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from router.config.prices import look_up
from router.config.tokenizers import tokenizer_of
from router.domain.errors import ContextLengthExceeded
from router.domain.ports import TokenCounter
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Candidate

LONGEST_TOKEN = 512
"""Characters. The longest tokens of published vocabularies are runs of 128 spaces; nobody's are four times as long."""

FEWEST_BYTES = 2
"""Of a token, in any text worth counting: a body with fewer bytes for each token of the window is not looked into."""

_MOST_DEPTH = 8
_APIS = frozenset({Api.CHAT, Api.RESPONSES, Api.MESSAGES})
# Members by which a caller lets the provider leave parts of a long request out.
_SHORTENING = (b'"truncation"', b'"truncate', b'"transforms"', b'"context_management"', b'"plugins"')
_ANY = msgspec.json.Decoder(dict[str, Any])


def may_exceed(request: ModelRequest, candidate: Candidate) -> bool:
    """Whether it is worth a look: hardly ever, so that a plain request does not pay for it."""
    window = candidate.alias.context_window
    return window is not None and len(request.body) >= FEWEST_BYTES * window and request.api in _APIS


class Windows:
    """Looks at one request. Its texts are read, and counted by each tokenizer, at most once."""

    __slots__ = ("_request", "_tokens", "_texts", "_counts")

    def __init__(self, request: ModelRequest, tokens: TokenCounter | None) -> None:
        self._request = request
        self._tokens = tokens
        self._texts: list[str] | None = None
        self._counts: dict[str, int | None] = {}

    async def excess(self, candidate: Candidate) -> ContextLengthExceeded | None:
        """How `candidate` would refuse the request, None where it might take it."""
        if not may_exceed(self._request, candidate):
            return None
        window = _window_of(candidate)
        if window is None:
            return None
        texts = self._said()
        least = sum(map(len, texts)) // LONGEST_TOKEN
        if least <= window:
            least = await self._count(tokenizer_of(candidate.target.provider_type, candidate.upstream_model)) or least
        return _refusal(self._request.api, candidate, least, window) if least > window else None

    async def _count(self, tokenizer: str) -> int | None:
        if not tokenizer or self._tokens is None:
            return None
        if tokenizer not in self._counts:
            self._counts[tokenizer] = await self._tokens.count(tokenizer, self._said())
        return self._counts[tokenizer]

    def _said(self) -> list[str]:
        if self._texts is None:
            self._texts = _texts_of(self._request)
        return self._texts


def _window_of(candidate: Candidate) -> int | None:
    """The alias's own where the file sets one. What the price table lists is the least of all its targets: of these each
    has its own."""
    alias = candidate.alias
    if not alias.is_window_listed:
        return alias.context_window
    listed = look_up(candidate.target.provider_type, candidate.upstream_model)
    return listed.context_window if listed is not None else None


def _refusal(api: Api, candidate: Candidate, tokens: int, window: int) -> ContextLengthExceeded:
    """In the words of the dialect: agents read them."""
    name = candidate.alias.name
    if api is Api.MESSAGES:
        return ContextLengthExceeded(
            f"prompt is too long: {tokens} tokens > {window} maximum (model {name!r})", param="messages"
        )
    return ContextLengthExceeded(
        f"This model's maximum context length is {window} tokens. However, your messages resulted in at least "
        f"{tokens} tokens (model {name!r}).",
        param="input" if api is Api.RESPONSES else "messages",
    )


def _texts_of(request: ModelRequest) -> list[str]:
    """What the model will read for certain; nothing where parts of it may be left out."""
    short = request.outline or request.body
    if any(name in short for name in _SHORTENING):
        return []
    try:
        members = _ANY.decode(request.body)
    except (msgspec.MsgspecError, RecursionError):
        return []
    if request.api is Api.RESPONSES:
        return list(_walk([members.get("instructions"), members.get("input")], 0))
    return list(_walk([members.get("system"), members.get("messages")], 0))


def _walk(value: Any, depth: int) -> Iterator[str]:
    """Texts in what is a text, a list of parts, or a part or message with a `content` or `text`."""
    if isinstance(value, str):
        yield value
    elif depth > _MOST_DEPTH:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict) and value.get("type", "message") in _READ:
        for name in ("content", "text"):
            yield from _walk(value.get(name), depth + 1)


_READ = frozenset({"message", "text", "input_text", "output_text", "tool_result"})
