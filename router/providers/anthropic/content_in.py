"""From content blocks to parts of a turn: for requests, whole answers and streams alike."""

from collections.abc import Iterable

import msgspec

from router.domain.chat import (
    CacheMark,
    Citation,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from router.domain.errors import InvalidRequest
from router.providers.anthropic.blocks import (
    NULL,
    Block,
    Cache,
    DocumentBlock,
    Foreign,
    ImageBlock,
    RedactedBlock,
    SourceBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    read_block,
    read_known,
    refuse,
)
from router.providers.anthropic.carried import Carried, unpacked

_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


class _Cited(msgspec.Struct):
    """What citations have in common: `url` of a page, `source` of a search result."""

    url: str | None = None
    source: str | None = None
    title: str | None = None
    document_title: str | None = None
    cited_text: str | None = None


_CITED = msgspec.json.Decoder(_Cited)


def read_content(raw: msgspec.Raw, path: str) -> tuple[Part, ...]:
    """A text, or a list of blocks. Raises InvalidRequest."""
    try:
        if bytes(raw)[:1] == b'"':
            return (Text(_STRING.decode(raw)),)
        items = _LIST.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        refuse(error, path)
    return with_signatures(read_part(item, f"{path}[{index}]") for index, item in enumerate(items))


def read_part(raw: msgspec.Raw, path: str) -> Part:
    """Raises InvalidRequest."""
    return part_of(read_block(raw, path), raw, path)


def read_answered(raw: msgspec.Raw, path: str) -> Part:
    """A block of an answer, which may have more members than are known. Raises InvalidRequest."""
    return part_of(read_known(raw, path), raw, path)


def part_of(block: Block | Foreign, raw: msgspec.Raw, path: str) -> Part:
    match block:
        case TextBlock():
            citations = tuple(read_citation(c) for c in block.citations or ())
            return Text(block.text, citations, cache=mark_of(block.cache_control))
        case ToolUseBlock():
            arguments = bytes(block.input).decode()
            if not arguments.startswith("{"):
                raise InvalidRequest(f"{path}.input: expected an object", param=f"{path}.input")
            return ToolCall(block.id, block.name, arguments, cache=mark_of(block.cache_control))
        case ToolResultBlock():
            given = block.content
            parts = read_content(given, f"{path}.content") if given and bytes(given) != NULL else ()
            cache = mark_of(block.cache_control)
            return ToolResult(block.tool_use_id, parts, is_error=block.is_error, cache=cache)
        case ThinkingBlock():
            return _thought(block.thinking, block.signature)
        case RedactedBlock():
            carried = unpacked(block.data)
            return _restored("", carried) if carried else Reasoning(family=Family.ANTHROPIC, encrypted=block.data)
        case ImageBlock():
            source = _source(block.source, path)
            return Image(source, cache=mark_of(block.cache_control)) if source else _opaque("image.source", raw)
        case DocumentBlock():
            return _document(block, raw, path)
        case Foreign():
            return _opaque(block.kind, block.raw)


def mark_of(cache: Cache | None) -> CacheMark | None:
    return None if cache is None else CacheMark(cache.ttl or "")


def read_citation(raw: msgspec.Raw) -> Citation:
    try:
        cited = _CITED.decode(raw)
    except msgspec.MsgspecError:
        cited = _Cited()
    return Citation(
        Family.ANTHROPIC,
        raw,
        url=cited.url or cited.source or "",
        title=cited.title or cited.document_title or "",
        quote=cited.cited_text or "",
    )


def with_signatures(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Signatures of other families' tool calls, which were carried in blocks of their own, back where they belong."""
    kept: list[Part] = []
    signed: dict[str, Reasoning] = {}
    for part in parts:
        if isinstance(part, Reasoning) and part.id.startswith(_OF_CALL):
            signed[part.id.removeprefix(_OF_CALL)] = part
        else:
            kept.append(part)
    if not signed:
        return tuple(kept)
    return tuple(_signed(part, signed) for part in kept)


_OF_CALL = "call\0"


def _signed(part: Part, signed: dict[str, Reasoning]) -> Part:
    if not isinstance(part, ToolCall) or part.id not in signed:
        return part
    found = signed[part.id]
    return msgspec.structs.replace(part, signature=found.signature, family=found.family)


def _thought(text: str, signature: str) -> Reasoning:
    carried = unpacked(signature)
    if carried is not None:
        return _restored(text, carried)
    return Reasoning(text, Family.ANTHROPIC if signature else None, signature)


def _restored(text: str, carried: Carried) -> Reasoning:
    if carried.call_id:
        return Reasoning(text, carried.family, carried.signature, id=_OF_CALL + carried.call_id)
    return Reasoning(text, carried.family, carried.signature, carried.encrypted, carried.id, carried.is_summary)


def _document(block: DocumentBlock, raw: msgspec.Raw, path: str) -> Part:
    source = _source(block.source, path)
    if source is None:
        return _opaque("document.source", raw)
    is_cited = block.citations is not None and block.citations.enabled
    cache = mark_of(block.cache_control)
    return Document(source, block.title or "", block.context or "", is_cited=is_cited, cache=cache)


def _source(source: SourceBlock, path: str) -> Source | None:
    """None where it can only be told to Anthropic. Raises InvalidRequest where its own kind of place is missing."""
    media_type = source.media_type or ""
    found = {
        "base64": source.data and Source(media_type, data=source.data),
        "url": source.url and Source(media_type, url=source.url),
        "file": source.file_id and Source(media_type, file_id=source.file_id),
        "text": source.data is not None and Source(media_type or "text/plain", text=source.data),
    }
    if source.type not in found:
        return None
    read = found[source.type]
    if not isinstance(read, Source):
        name = {"base64": "data", "text": "data", "file": "file_id"}.get(source.type, source.type)
        raise InvalidRequest(f"{path}.source.{name} is missing", param=f"{path}.source.{name}")
    return read


def _opaque(kind: str, raw: msgspec.Raw) -> Opaque:
    return Opaque(Family.ANTHROPIC, kind, raw)
