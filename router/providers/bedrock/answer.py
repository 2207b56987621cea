"""A whole answer of Converse in common words."""

import msgspec

from router.domain.chat import (
    Audio,
    ChatResult,
    Choice,
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
)
from router.providers.bedrock.counts import usage_of
from router.providers.bedrock.wording import DOCUMENT_FORMATS, VIDEO_FORMATS, finish_of

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_SERVER_CALL = "server_tool_use"


class ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    type: str | None = None


class ReasoningText(msgspec.Struct, rename="camel"):
    text: str = ""
    signature: str | None = None


class ReasoningBlock(msgspec.Struct, rename="camel"):
    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class _Source(msgspec.Struct):
    bytes: str | None = None


class Medium(msgspec.Struct):
    """An image, a sound, a video or a document, or a piece of an image."""

    format: str | None = None
    name: str | None = None
    source: _Source | None = None


class _TextOnly(msgspec.Struct, rename="camel"):
    text: str = ""


class _Web(msgspec.Struct, rename="camel"):
    url: str | None = None


class _Location(msgspec.Struct, rename="camel"):
    web: _Web | None = None


class _Citation(msgspec.Struct, rename="camel"):
    title: str | None = None
    source: str | None = None
    source_content: list[_TextOnly] | None = None
    location: _Location | None = None


class _Cited(msgspec.Struct, rename="camel"):
    content: list[_TextOnly] = msgspec.field(default_factory=list)
    citations: list[msgspec.Raw] = msgspec.field(default_factory=list)


class _Message(msgspec.Struct, rename="camel"):
    content: list[msgspec.Raw] = msgspec.field(default_factory=list)


class _Output(msgspec.Struct, rename="camel"):
    message: _Message


class Tier(msgspec.Struct, rename="camel"):
    type: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str = ""
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: Tier | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_TOOL_USE = msgspec.json.Decoder(ToolUse)
_REASONING = msgspec.json.Decoder(ReasoningBlock)
_MEDIUM = msgspec.json.Decoder(Medium)
_CITED = msgspec.json.Decoder(_Cited)
_CITATION = msgspec.json.Decoder(_Citation)


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    try:
        told = _ANSWER.decode(answer)
        parts = [part for raw in told.output.message.content for part in _parts(raw)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is none of Converse's: {error}") from None
    return ChatResult(
        family=Family.BEDROCK,
        id="",
        model="",
        choices=(Choice(tuple(parts), finish_of(told.stop_reason), told.stop_reason),),
        usage=usage_of(told.usage),
        service_tier=told.service_tier.type if told.service_tier is not None else "",
    )


def _parts(raw: msgspec.Raw) -> list[Part]:
    """A block is a union of one member; what is not known of it is kept for Bedrock alone."""
    found: list[Part] = []
    for kind, value in _MEMBERS.decode(raw).items():
        match kind:
            case "text":
                found.append(Text(_STRING.decode(value)))
            case "citationsContent":
                cited = _CITED.decode(value)
                citations = tuple(read_citation(citation) for citation in cited.citations)
                found.append(Text("".join(part.text for part in cited.content), citations))
            case "toolUse":
                found.append(_call(_TOOL_USE.decode(value), raw))
            case "reasoningContent":
                found.append(_thought(_REASONING.decode(value)))
            case "image" | "audio" | "video" | "document":
                found.append(_medium(kind, _MEDIUM.decode(value)) or Opaque(Family.BEDROCK, kind, raw))
            case "type":
                pass
            case _:
                found.append(Opaque(Family.BEDROCK, kind, raw))
    return found


def _medium(kind: str, told: Medium) -> Part | None:
    """None where it has no content: at S3 it is for whoever may read it there."""
    data = told.source.bytes if told.source is not None else None
    if not data:
        return None
    form = told.format or ""
    if kind == "image":
        return Image(Source(f"image/{form or 'png'}", data=data))
    if kind == "audio":
        return Audio(Source(data=data), form)
    types = {name: media_type for media_type, name in (DOCUMENT_FORMATS | VIDEO_FORMATS).items()}
    return Document(Source(types.get(form, ""), data=data), told.name or "")


def _call(told: ToolUse, raw: msgspec.Raw) -> Part:
    if told.type == _SERVER_CALL:
        return Opaque(Family.BEDROCK, "toolUse", raw)
    return ToolCall(told.tool_use_id, told.name, bytes(told.input).decode())


def _thought(told: ReasoningBlock) -> Reasoning:
    if told.reasoning_text is None:
        return Reasoning(family=Family.BEDROCK, encrypted=told.redacted_content or "")
    return Reasoning(told.reasoning_text.text, Family.BEDROCK, told.reasoning_text.signature or "")


def read_citation(raw: msgspec.Raw) -> Citation:
    """Offsets of Bedrock's are in the document, not in the text that cites it: they stay its own."""
    told = _CITATION.decode(raw)
    web = told.location.web if told.location is not None else None
    return Citation(
        Family.BEDROCK,
        raw,
        url=(web.url if web is not None else "") or "",
        title=told.title or "",
        quote="".join(part.text for part in told.source_content or ()),
    )
