"""The request as it came: raw bytes, the API it speaks, and the few fields the gateway acts on."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from router.domain.errors import InvalidRequest
from router.domain.identity import Scope
from router.domain.json_scan import OUTLINED_FROM, Span, member_span, outline, string_value, top_level_members


class Kind(StrEnum):
    """The type of an alias in the catalog; an alias of one kind refuses requests of another."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    IMAGE = "image"
    AUDIO = "audio"
    MODERATION = "moderation"
    RERANK = "rerank"


class Api(StrEnum):
    """A wire format. Callers speak those of INBOUND; the others are spoken to providers alone."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    RERANK = "rerank"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    GENERATE_CONTENT = "generate_content"
    CONVERSE = "converse"
    CONVERSE_COUNT = "converse_count"
    GEMINI_COUNT = "gemini_count"
    RESPONSES_COUNT = "responses_count"
    TOKENIZE = "tokenize"
    COHERE_CHAT = "cohere_chat"
    OLLAMA_CHAT = "ollama_chat"
    GEMINI_EMBED = "gemini_embed"
    VERTEX_EMBED = "vertex_embed"
    BEDROCK_EMBED = "bedrock_embed"
    COHERE_EMBED = "cohere_embed"
    OLLAMA_EMBED = "ollama_embed"
    TEI_EMBED = "tei_embed"
    FEATURE_EXTRACTION = "feature_extraction"
    COHERE_RERANK = "cohere_rerank"
    BEDROCK_RERANK = "bedrock_rerank"
    TEI_RERANK = "tei_rerank"
    CONTENT_SAFETY = "content_safety"


API_KIND = {
    Api.CHAT: Kind.CHAT,
    Api.COMPLETIONS: Kind.CHAT,
    Api.RESPONSES: Kind.CHAT,
    Api.EMBEDDINGS: Kind.EMBEDDINGS,
    Api.MODERATIONS: Kind.MODERATION,
    Api.RERANK: Kind.RERANK,
    Api.MESSAGES: Kind.CHAT,
    Api.COUNT_TOKENS: Kind.CHAT,
}
"""What callers may speak, and of which kind the models are that answer."""

INBOUND = frozenset(API_KIND)

API_NAMES = {api: api.value for api in Api}
"""Their plain texts, at a tenth of what `value` costs."""

API_SCOPE = {
    Api.CHAT: Scope.CHAT,
    Api.COMPLETIONS: Scope.CHAT,
    Api.RESPONSES: Scope.RESPONSES,
    Api.EMBEDDINGS: Scope.EMBEDDINGS,
    Api.MODERATIONS: Scope.MODERATIONS,
    Api.RERANK: Scope.RERANK,
    Api.MESSAGES: Scope.MESSAGES,
    Api.COUNT_TOKENS: Scope.MESSAGES,
}

SAID_IN: Mapping[Api, tuple[Api, ...]] = {
    Api.CHAT: (Api.MESSAGES, Api.GENERATE_CONTENT, Api.RESPONSES, Api.CONVERSE, Api.COHERE_CHAT, Api.OLLAMA_CHAT),
    Api.MESSAGES: (Api.CHAT, Api.GENERATE_CONTENT, Api.RESPONSES, Api.CONVERSE, Api.COHERE_CHAT, Api.OLLAMA_CHAT),
    Api.RESPONSES: (Api.MESSAGES, Api.CHAT, Api.GENERATE_CONTENT, Api.CONVERSE, Api.COHERE_CHAT, Api.OLLAMA_CHAT),
    Api.EMBEDDINGS: (
        *(Api.GEMINI_EMBED, Api.VERTEX_EMBED, Api.BEDROCK_EMBED, Api.COHERE_EMBED, Api.OLLAMA_EMBED, Api.TEI_EMBED),
        Api.FEATURE_EXTRACTION,
    ),
    Api.RERANK: (Api.COHERE_RERANK, Api.BEDROCK_RERANK, Api.TEI_RERANK),
    Api.MODERATIONS: (Api.CONTENT_SAFETY,),
    Api.COUNT_TOKENS: (Api.CONVERSE_COUNT, Api.GEMINI_COUNT, Api.RESPONSES_COUNT, Api.TOKENIZE),
}
"""Of each API whose requests can be translated, those in whose words they can be said, the best first."""


# A member costs more through its class than by a name of its own.
_CHAT, _RESPONSES = Api.CHAT, Api.RESPONSES
_MOST = 2**31
# llama.cpp and LM Studio write -1 for "no cap"; a provider that does not know it says so itself.
_Cap = Annotated[int, msgspec.Meta(ge=-1, le=_MOST)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The top-level fields that decide routing, limits and splicing. Everything else travels unread.

    Types and ranges are checked by the decoder; `Raw` values are checked where they are used. What is decoded is a tree:
    nothing in it leads back, so there is nothing for the garbage collector.
    """

    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, msgspec.Raw] | None = None
    max_tokens: _Cap | None = None
    max_completion_tokens: _Cap | None = None
    max_output_tokens: _Cap | None = None
    n: _Number | None = None
    best_of: _Number | None = None
    prompt: Any = None
    user: Any = None
    metadata: Any = None
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt_cache_key: Any = None
    previous_response_id: Any = None
    response_format: msgspec.Raw = msgspec.Raw()


ACTED_ON = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens")
"""Top-level names that are read or spliced: a duplicate or an escaped spelling of one is refused (contract.md)."""

TELLING = (
    *("image_url", "url", "file_data", "file_id", "file_url", "previous_response_id", "conversation", "prediction"),
    *("web_search_options", "tools", "functions", "response_format", "text", "n", "best_of", "prompt", "media_type"),
    *("container", "mcp_servers", "speed", "output_config", "output_format", "context_management", "item_reference", "1h"),
)
"""Names, and two values, that may make a request cost more than its size shows: where one stands, more is looked at."""

_ACTED_ON = frozenset(name.encode() for name in ACTED_ON)
_DECODER = msgspec.json.Decoder(Fields)
_NOTHING: frozenset[bytes] = frozenset()
_BACKSLASH = ord("\\")


class ModelRequest(msgspec.Struct, frozen=True, gc=False):
    """One inference request. Frozen: every attempt builds its own body from the same bytes."""

    api: Api
    body: bytes
    fields: Fields
    stream: bool = False
    output_cap: int | None = None
    """The caller's cap on output tokens per choice, by the names this API reads; None where it gave none or said -1,
    which is none in words. Of two names the larger counts: which of them a provider obeys is not known."""
    outline: bytes = b""
    """The body without what is only long, and with its escaped letters written out, for searching; "" is for the body."""
    quoted: frozenset[bytes] = _NOTHING
    """Of ACTED_ON and TELLING what stands in the body, as a name or as a whole string, at the top or deeper."""
    repeated: frozenset[bytes] = _NOTHING
    """What of that stands there more than once."""
    is_plain: bool = False
    """Known to have no name that is acted on twice, nor as a string, nor written with escapes."""
    is_kept_here: bool = False
    """Of Responses: its provider keeps nothing, and what the model thinks must come back to us, sealed."""

    def with_body(self, body: bytes) -> "ModelRequest":
        """The same request in other words, of which nothing is known."""
        return ModelRequest(self.api, body, self.fields, self.stream, self.output_cap, is_kept_here=self.is_kept_here)

    @property
    def prompts(self) -> int:
        """How many prompts a legacy request lists; 1 for every other."""
        prompt = self.fields.prompt
        if prompt is None:
            return 1
        is_batch = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], str | list)
        return len(prompt) if is_batch else 1

    @property
    def choices(self) -> int:
        """How many choices the answer will have."""
        return self.prompts * (self.fields.n or 1)

    @property
    def answers(self) -> int:
        """How many answers the provider writes and bills: `best_of` writes more than it returns."""
        n, best_of = self.fields.n, self.fields.best_of
        return self.prompts * (max(n or 1, best_of or 1) if n or best_of else 1)

    @property
    def asked_for_usage(self) -> bool:
        """Whether the caller itself set `stream_options.include_usage`."""
        options = self.fields.stream_options
        return options is not None and bytes(options.get("include_usage", b"")) == b"true"

    def span_of(self, name: str) -> Span | None:
        """Where the value of the top-level `name`, one of ACTED_ON, stands in the body; None when it is absent."""
        if self.is_plain and name.encode() not in self.quoted:
            return None
        return member_span(self.body, name)

    def model_span(self) -> Span | None:
        """Where the value of the top-level `model` stands in the body, quotes included; None when it is absent."""
        if self.is_plain and self.fields.model is not None:
            # Inside a JSON string every quote is escaped: what stands there once is that member, wherever it stands.
            return string_value(self.body, b'"model"')
        return member_span(self.body, "model")


def parse_request(api: Api, body: bytes) -> ModelRequest:
    """Decode the acted-on fields of a JSON body; raise InvalidRequest naming what is wrong."""
    try:
        if not body.isascii():
            body.decode()  # the decoder does not look into what it skips, and a provider must not get what is no JSON
        fields = _DECODER.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not valid UTF-8 at byte {error.start}") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(_located(str(error)), param=_param(str(error))) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    short = body if len(body) < OUTLINED_FROM else outline(body)
    is_escaped = False
    if _BACKSLASH in short and b"\\u00" in short:
        is_escaped = _ESCAPED_NAME_LETTER.search(short) is not None
        short = _ESCAPED.sub(_letter, short)
    found = _SOUGHT.findall(short)
    quoted, repeated = frozenset(found), _NOTHING
    if len(quoted) != len(found):
        repeated = frozenset(name for name in quoted if found.count(name) > 1)
    is_plain = not is_escaped and (not repeated or _ACTED_ON.isdisjoint(repeated))
    if not is_plain:
        _refuse_ambiguous_names(body)
    return ModelRequest(
        api, body, fields, fields.stream is True, _output_cap(api, fields), short, quoted, repeated, is_plain
    )


def _output_cap(api: Api, fields: Fields) -> int | None:
    cap = fields.max_output_tokens if api is _RESPONSES else fields.max_tokens
    other = fields.max_completion_tokens if api is _CHAT else None
    if other is None or cap is None:
        cap = other if cap is None else cap
        return cap if cap is None or cap >= 0 else None
    return max(cap, other) if cap >= 0 and other >= 0 else None


def _located(text: str) -> str:
    """msgspec says "Expected `str | null`, got `int` - at `$.model`"; say it in the words of a JSON author."""
    what, _, path = text.partition(" - at `$")
    return f"{path.rstrip('`').lstrip('.')}: {what}" if path.strip("`.") else f"the body must be a JSON object: {what}"


def _param(text: str) -> str | None:
    path = text.partition(" - at `$.")[2].rstrip("`")
    return path or None


def _sought(names: Iterable[str]) -> re.Pattern[bytes]:
    """Any of `names` in quotes. Ordered by their first letters, which a search tells apart first."""
    by_letter: dict[str, list[str]] = {}
    for name in names:
        by_letter.setdefault(name[0], []).append(name[1:])
    branches = (f"{letter}(?:{'|'.join(rests)})" for letter, rests in by_letter.items())
    return re.compile(f'"({"|".join(branches)})"'.encode())


_SOUGHT = _sought((*ACTED_ON, *TELLING))
_ESCAPED_NAME_LETTER = re.compile(rb"\\u00(?:[67][0-9a-fA-F]|5[fF])")
_ESCAPED = re.compile(rb"\\u00(?!22|5[cC])([2-7][0-9a-fA-F])")


def _letter(escaped: re.Match[bytes]) -> bytes:
    return bytes([int(escaped[1], 16)])


def _refuse_ambiguous_names(body: bytes) -> None:
    """A provider may read another one of two equal names than we did, so neither is forwarded."""
    seen: set[str] = set()
    for member in top_level_members(body):
        if member.name not in ACTED_ON:
            continue
        if member.escaped:
            raise InvalidRequest(f"the name {member.name!r} is written with escapes; write it plainly", param=member.name)
        if member.name in seen:
            raise InvalidRequest(f"the name {member.name!r} occurs twice; keep one", param=member.name)
        seen.add(member.name)
