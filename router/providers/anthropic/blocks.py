"""Content blocks as the Messages API writes them, and how JSON becomes one: what is not of this shape says where."""

from collections.abc import Mapping
from typing import Literal, NoReturn

import msgspec

from router.domain.errors import InvalidRequest

EMPTY = msgspec.Raw()
NULL = b"null"


class Cache(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Enabled(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool = False


class Kind(msgspec.Struct):
    type: str


class SourceBlock(msgspec.Struct, forbid_unknown_fields=True):
    """Of an image or a document; `content` is a list of blocks, or a text, to be cited block by block."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: msgspec.Raw = EMPTY


class TextBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    text: str
    citations: list[msgspec.Raw] | None = None
    cache_control: Cache | None = None


class ImageBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    source: SourceBlock
    cache_control: Cache | None = None


class DocumentBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    source: SourceBlock
    citations: Enabled | None = None
    context: str | None = None
    title: str | None = None
    cache_control: Cache | None = None


class ThinkingBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    thinking: str
    signature: str = ""


class RedactedBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    data: str


class Caller(msgspec.Struct, forbid_unknown_fields=True):
    """Who called a tool: only the model itself is told in common words."""

    type: Literal["direct"]


class ToolUseBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    id: str
    name: str
    input: msgspec.Raw
    cache_control: Cache | None = None
    caller: Caller | None = None
    toolset_name: None = None


class ToolResultBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    tool_use_id: str
    content: msgspec.Raw = EMPTY
    is_error: bool | None = None
    cache_control: Cache | None = None
    toolset_name: None = None


Block = TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock
_SHAPES: Mapping[str, type[Block]] = {
    "text": TextBlock,
    "image": ImageBlock,
    "document": DocumentBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
}
_DECODERS = {kind: msgspec.json.Decoder(shape) for kind, shape in _SHAPES.items()}
_NAMES = {kind: frozenset(shape.__struct_fields__) for kind, shape in _SHAPES.items()}
_KIND = msgspec.json.Decoder(Kind)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Foreign(msgspec.Struct):
    """A block that only Anthropic can read: of another kind, or with members that have no place in common words."""

    kind: str
    raw: msgspec.Raw


def read_block(raw: msgspec.Raw, path: str) -> Block | Foreign:
    """Raises InvalidRequest where it is neither a known block nor one that could be unknown."""
    try:
        kind = _KIND.decode(raw).type
    except (msgspec.MsgspecError, RecursionError) as error:
        refuse(error, path)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        return Foreign(kind, raw)
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        return _other(kind, raw, path, error)


_SILENT = {"text": {"text": b'""'}, "thinking": {"thinking": b'""'}, "tool_use": {"input": b"{}"}}
_ASIDE = frozenset({"caller", "toolset_name"})


def read_known(raw: msgspec.Raw, path: str) -> Block | Foreign:
    """A block of an answer. What is new in a block that is known takes nothing from what it says: it is left out, and null
    is as good as nothing said. Raises InvalidRequest where it is neither a known block nor one that could be unknown."""
    try:
        members = _MEMBERS.decode(raw)
        kind = _KIND.decode(raw).type
    except (msgspec.MsgspecError, RecursionError) as error:
        refuse(error, path)
    if kind not in _DECODERS:
        return Foreign(kind, raw)
    names = _NAMES[kind] - _ASIDE
    said = {name: value for name, value in members.items() if name in names and bytes(value) != NULL}
    silent = {name: msgspec.Raw(value) for name, value in _SILENT.get(kind, {}).items()}
    try:
        return _DECODERS[kind].decode(msgspec.json.encode(silent | said))
    except (msgspec.MsgspecError, RecursionError) as error:
        refuse(error, path)


def _other(kind: str, raw: msgspec.Raw, path: str, error: Exception) -> Block | Foreign:
    """Members that are null say nothing; one that is not known makes the block Anthropic's own; else it is wrong."""
    told, members = str(error), _MEMBERS.decode(raw)
    said = {name: value for name, value in members.items() if bytes(value) != NULL}
    unknown = sorted(said.keys() - _NAMES[kind])
    if unknown:
        return Foreign(f"{kind}.{unknown[0]}", raw)
    if ".caller" in told or ".toolset_name" in told:
        return Foreign(f"{kind}.{'caller' if '.caller' in told else 'toolset_name'}", raw)
    if "unknown field" not in told:
        refuse(error, path)
    if len(said) < len(members):
        return read_block(msgspec.Raw(msgspec.json.encode(said)), path)
    return Foreign(f"{kind}.{told.partition('`')[2].partition('`')[0]}", raw)


def refuse(error: Exception, path: str) -> NoReturn:
    """Raise InvalidRequest for what msgspec found wrong below `path`."""
    what, _, place = str(error).partition(" - at `$")
    place = path + place.rstrip("`")
    raise InvalidRequest(f"{place.lstrip('.')}: {what}", param=place.lstrip(".") or None) from None
