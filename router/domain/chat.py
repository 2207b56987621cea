"""A chat request and its answer in no provider's words: the hub between dialects.

Every dialect translates to and from this form, never to another dialect. It holds what any of them can say; what one of
them cannot say is refused by name or on the list of docs/fidelity.md, never lost in silence.
"""

from enum import StrEnum
from typing import Any

import msgspec

from router.domain.usage import Usage


class Family(StrEnum):
    """Whose words something is written in that only its author can read: signatures, ids, hosted tools."""

    CHAT = "chat"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    BEDROCK = "bedrock"
    COHERE = "cohere"
    OLLAMA = "ollama"


class Role(StrEnum):
    """Who speaks. Results of tools are parts of a user's turn."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"


class CacheMark(msgspec.Struct, frozen=True):
    """Everything up to here may be cached by the provider; `ttl` is `5m`, `1h` or "" for its default."""

    ttl: str = ""


class Source(msgspec.Struct, frozen=True):
    """Where a medium is: exactly one of `data` (base64), `url`, `file_id` and `text` is set. `media_type` "" is unknown."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    text: str = ""


class Citation(msgspec.Struct, frozen=True):
    """What a text rests on. `raw` is the author's own object, readable by `family`; the rest is what all have in common.

    `start` and `end` are character offsets in the text that cites, None where the author gives none.
    """

    family: Family
    raw: msgspec.Raw
    url: str = ""
    title: str = ""
    quote: str = ""
    start: int | None = None
    end: int | None = None


class Logprob(msgspec.Struct, frozen=True):
    """One token's logarithm of probability; `top` are the alternatives, without alternatives of their own."""

    token: str
    logprob: float
    data: tuple[int, ...] | None = None
    top: "tuple[Logprob, ...]" = ()


# -- parts of a turn ------------------------------------------------------------------------------------------


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    cache: CacheMark | None = None
    signature: str = ""
    """Gemini signs texts too (`thoughtSignature`); only readable by GEMINI."""


class Image(msgspec.Struct, frozen=True, tag="image"):
    source: Source
    detail: str = ""
    cache: CacheMark | None = None


class Document(msgspec.Struct, frozen=True, tag="document"):
    """A file to read: PDF, plain text, or anything else with a media type (Gemini reads video)."""

    source: Source
    name: str = ""
    context: str = ""
    is_cited: bool = False
    cache: CacheMark | None = None


class Audio(msgspec.Struct, frozen=True, tag="audio"):
    """`format` as OpenAI has it (wav, mp3); `transcript` and `id` are set on what a model said."""

    source: Source
    format: str = ""
    transcript: str = ""
    id: str = ""
    expires_at: int | None = None


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call"):
    """`arguments` is JSON text as the model wrote it, or free text where `is_custom`. `signature` belongs to `family`.

    `id` "" is for the encoder to make: Gemini and Ollama have none. `item_id` is that of RESPONSES.
    """

    id: str
    name: str
    arguments: str
    is_custom: bool = False
    signature: str = ""
    family: Family | None = None
    item_id: str = ""
    cache: CacheMark | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    """`name` is the tool's, "" where only the call's id is known. `parts`: Text, Image and Document only.

    `is_error` None: not said.
    """

    call_id: str
    parts: "tuple[Part, ...]"
    name: str = ""
    is_error: bool | None = None
    is_custom: bool = False
    cache: CacheMark | None = None


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    """What a model thought. `text` may be given to any reader; `signature`, `encrypted` (which may stand without any text: a
    redacted block) and `id` only back to `family`. `is_summary`: the text is a summary of it."""

    text: str = ""
    family: Family | None = None
    signature: str = ""
    encrypted: str = ""
    id: str = ""
    is_summary: bool = False


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    text: str


class Opaque(msgspec.Struct, frozen=True, tag="opaque"):
    """A part that only `family` can read: a hosted tool's call or result, an unknown block. `kind` is its type there."""

    family: Family
    kind: str
    raw: msgspec.Raw


Part = Text | Image | Document | Audio | ToolCall | ToolResult | Reasoning | Refusal | Opaque


class Turn(msgspec.Struct, frozen=True):
    """`name` is the speaker's, where the caller gives one."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""


# -- the request ----------------------------------------------------------------------------------------------


class Namespace(msgspec.Struct, frozen=True):
    """A group of tools, told of as one."""

    name: str
    description: str = ""


class Tool(msgspec.Struct, frozen=True):
    """A function of the caller's. `parameters` is a JSON Schema object, empty Raw for none. `is_strict` None: not said.

    `grammar`: a custom tool, whose input is free text in this format; a Raw object as OpenAI has it, `{}` for any text.
    `namespace`: what RESPONSES groups it under; `name` then begins with the group's, so that it is a name of its own
    everywhere.
    """

    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw()
    is_strict: bool | None = None
    grammar: msgspec.Raw | None = None
    cache: CacheMark | None = None
    namespace: Namespace | None = None


class HostedTool(msgspec.Struct, frozen=True):
    """A tool that the provider runs: web search, code, files. Only `family` knows what `raw` asks for; `kind` names it."""

    family: Family
    kind: str
    raw: msgspec.Raw


class ToolMode(StrEnum):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


class ToolChoice(msgspec.Struct, frozen=True):
    """`names`: of NAMED the one that must be called; of AUTO and REQUIRED those that may be, all where empty."""

    mode: ToolMode
    names: tuple[str, ...] = ()


class OutputKind(StrEnum):
    TEXT = "text"
    JSON = "json"
    SCHEMA = "schema"


class OutputFormat(msgspec.Struct, frozen=True):
    """`schema` is a JSON Schema, only with SCHEMA."""

    kind: OutputKind
    name: str = ""
    description: str = ""
    schema: msgspec.Raw = msgspec.Raw()
    is_strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """How much to think. `effort` is a word (none, minimal, low, medium, high, xhigh, max); `budget` tokens, -1 for as the
    model likes; `is_on` None: not said. `summary` is how to show it (auto, concise, detailed, none, "" not said)."""

    effort: str = ""
    budget: int | None = None
    is_on: bool | None = None
    summary: str = ""
    wants_encrypted: bool = False


class Sampling(msgspec.Struct, frozen=True):
    """None: not said. `logit_bias` maps token ids of the model's own tokenizer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None


class ChatQuery(msgspec.Struct, frozen=True):
    """A whole request. `cap` is the most tokens of one choice. `others` are fields of the origin that have no place here,
    by name: a target that is not of the same family refuses or drops each of them by name.

    `audio` is OpenAI's `{voice, format}` where the answer is to be spoken; `modalities` what it may hold. `wants_usage`: the
    stream is to end with its usage, in dialects that tell it only where asked. `is_legacy`: the caller speaks of OpenAI's
    old `functions`, and its answer names a `function_call`. `has_instructions`: the first turn is not of the conversation,
    but what RESPONSES calls the request's instructions.
    """

    origin: Family
    turns: tuple[Turn, ...]
    stream: bool = False
    tools: tuple[Tool | HostedTool, ...] = ()
    tool_choice: ToolChoice | None = None
    is_parallel: bool | None = None
    cap: int | None = None
    format: OutputFormat | None = None
    thinking: Thinking | None = None
    sampling: Sampling = Sampling()
    verbosity: str = ""
    modalities: tuple[str, ...] = ()
    audio: msgspec.Raw | None = None
    user: str = ""
    metadata: dict[str, Any] | None = None
    service_tier: str = ""
    store: bool | None = None
    cache_key: str = ""
    cache: CacheMark | None = None
    wants_usage: bool = False
    is_legacy: bool = False
    has_instructions: bool = False
    others: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)


# -- the answer -----------------------------------------------------------------------------------------------


class Finish(StrEnum):
    """Why a choice ended. PAUSED: a hosted tool needs another turn (Anthropic's `pause_turn`)."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT = "context"
    TOOLS = "tools"
    FILTERED = "filtered"
    REFUSED = "refused"
    PAUSED = "paused"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"


class Choice(msgspec.Struct, frozen=True):
    """`said` is the provider's own word for `finish`; `stop_sequence` the one that was met, where it is told."""

    parts: tuple[Part, ...]
    finish: Finish
    said: str = ""
    stop_sequence: str | None = None


class ChatResult(msgspec.Struct, frozen=True):
    """A whole answer. `created` is seconds since the epoch, 0 where the provider does not tell. `usage` None: not told."""

    family: Family
    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int = 0
    service_tier: str = ""
    fingerprint: str = ""
