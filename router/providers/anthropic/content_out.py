"""From parts of a turn to content blocks: what Anthropic has no words for is refused by name, or noted as dropped."""

from collections.abc import Sequence
from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    CacheMark,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from router.domain.errors import UnsupportedFeature

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SIGNS = {"/9j/": "image/jpeg", "iVBOR": "image/png", "R0lGOD": "image/gif", "UklGR": "image/webp"}
_ANY = msgspec.json.Decoder(dict[str, Any])

Json = dict[str, Any]


class ContentWriter:
    """Writes the parts of one request. `dropped` collects what was left out by the documented list."""

    def __init__(self, origin: Family, target: str) -> None:
        self._origin = origin
        self._target = target
        self.dropped: list[str] = []

    def blocks(self, parts: Sequence[Part], role: Role, path: str) -> list[Json | msgspec.Raw]:
        """Raises UnsupportedFeature."""
        found = (self._block(part, role, f"{path}[{index}]") for index, part in enumerate(parts))
        return [block for block in found if block is not None]

    def refuse(self, path: str, what: str) -> UnsupportedFeature:
        return UnsupportedFeature(f"{path}: {what} (target {self._target})", param=path)

    def _block(self, part: Part, role: Role, path: str) -> Json | msgspec.Raw | None:
        match part:
            case Text():
                return self._text(part)
            case ToolCall():
                return self._call(part, path)
            case ToolResult():
                return self._result(part, path)
            case Reasoning():
                return self._thought(part)
            case Image() | Document() if role is not Role.USER:
                raise self.refuse(path, "Anthropic takes images and documents only from the user")
            case Image():
                return marked({"type": "image", "source": self._image(part, path)}, part.cache)
            case Document():
                return self._document(part, path)
            case Refusal():
                return {"type": "text", "text": part.text} if part.text else None
            case Audio():
                return self._audio(part, role, path)
            case Opaque():
                if part.family is not Family.ANTHROPIC:
                    raise self.refuse(path, f"{part.kind!r} can only be read by {part.family.value}")
                return part.raw

    def _text(self, part: Text) -> Json | None:
        """Anthropic refuses empty texts; they say nothing."""
        if not part.text:
            return None
        block: Json = {"type": "text", "text": part.text}
        own = [citation.raw for citation in part.citations if citation.family is Family.ANTHROPIC]
        if own:
            block["citations"] = own
        if len(own) < len(part.citations):
            self.drop("citations")
        return marked(block, part.cache)

    def _call(self, part: ToolCall, path: str) -> Json:
        if part.is_custom:
            return marked(
                {"type": "tool_use", "id": part.id, "name": part.name, "input": {"input": part.arguments}}, part.cache
            )
        try:
            _ANY.decode(part.arguments or "{}")
        except (msgspec.MsgspecError, RecursionError):
            raise self.refuse(path, "the arguments of a tool call must be a JSON object") from None
        arguments = msgspec.Raw((part.arguments or "{}").encode())
        return marked({"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}, part.cache)

    def _result(self, part: ToolResult, path: str) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": part.call_id}
        content = self.blocks(part.parts, Role.USER, f"{path}.content")
        is_plain = len(content) == 1 and isinstance(content[0], dict) and content[0].keys() == {"type", "text"}
        if content:
            block["content"] = content[0]["text"] if is_plain and isinstance(content[0], dict) else content
        if part.is_error is not None:
            block["is_error"] = part.is_error
        return marked(block, part.cache)

    def _thought(self, part: Reasoning) -> Json | None:
        """Only Anthropic's own thoughts go back to it; anybody else's would be taken for the assistant's words."""
        if part.family is not Family.ANTHROPIC or not (part.signature or part.encrypted):
            self.drop("reasoning")
            return None
        if part.encrypted and not part.signature:
            return {"type": "redacted_thinking", "data": part.encrypted}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}

    def _image(self, part: Image, path: str) -> Json:
        if part.detail and part.detail != "auto":
            self.drop("image detail")
        source = part.source
        if source.data:
            kind = source.media_type.lower().replace("image/jpg", "image/jpeg") or _sniffed(source.data)
            if kind not in IMAGE_TYPES:
                raise self.refuse(path, f"Anthropic takes images of the types {', '.join(IMAGE_TYPES)}, found {kind!r}")
            return {"type": "base64", "media_type": kind, "data": source.data}
        return self._elsewhere(source, path)

    def _document(self, part: Document, path: str) -> Json:
        source = part.source
        kind = source.media_type.partition(";")[0].lower()
        if source.text or (kind.startswith("text/") and not (source.data or source.url or source.file_id)):
            written = {"type": "text", "media_type": "text/plain", "data": source.text}
        elif source.data:
            if kind != "application/pdf":
                raise self.refuse(path, f"Anthropic takes PDF documents and plain text, found {kind or 'no media type'!r}")
            written = {"type": "base64", "media_type": kind, "data": source.data}
        else:
            written = self._elsewhere(source, path)
        block: Json = {"type": "document", "source": written}
        if part.is_cited:
            block["citations"] = {"enabled": True}
        block |= {name: value for name, value in (("context", part.context), ("title", part.name)) if value}
        return marked(block, part.cache)

    def _elsewhere(self, source: Source, path: str) -> Json:
        if source.url:
            if not source.url.lower().startswith(("http://", "https://")):
                raise self.refuse(path, "Anthropic fetches media by http and https only")
            return {"type": "url", "url": source.url}
        if source.file_id and self._origin is Family.ANTHROPIC:
            return {"type": "file", "file_id": source.file_id}
        raise self.refuse(path, "a file id is only known to the provider that gave it" if source.file_id else "it is empty")

    def _audio(self, part: Audio, role: Role, path: str) -> Json:
        """What a model said is told in its words; what a user says cannot be heard."""
        if role is Role.ASSISTANT and part.transcript:
            return {"type": "text", "text": part.transcript}
        raise self.refuse(path, "Anthropic takes no audio")

    def drop(self, name: str) -> None:
        if name not in self.dropped:
            self.dropped.append(name)


def marked(block: Json, cache: CacheMark | None) -> Json:
    if cache is not None:
        block["cache_control"] = cache_control(cache)
    return block


def cache_control(cache: CacheMark) -> Json:
    return {"type": "ephemeral", "ttl": cache.ttl} if cache.ttl else {"type": "ephemeral"}


def _sniffed(data: str) -> str:
    return next((kind for sign, kind in _SIGNS.items() if data.startswith(sign)), "")
