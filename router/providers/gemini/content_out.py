"""From parts of a turn to parts of a content: what Gemini has no words for is refused by name, or noted as dropped."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from router.domain.chat import (
    Audio,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from router.domain.errors import UnsupportedFeature

Json = dict[str, Any]

UNSIGNED = "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv"
"""What Google documents in the place of a signature for a call that another model made: Gemini 3 refuses calls without."""

_OWN_FILES = ("gs://", "https://generativelanguage.googleapis.com/")
_SIGNS = {
    "/9j/": "image/jpeg",
    "iVBOR": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi": "application/pdf",
}
_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".wav": "audio/wav",
    ".mp3": "audio/mp3",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".aac": "audio/aac",
    ".mp4": "video/mp4",
    ".mov": "video/mov",
    ".webm": "video/webm",
    ".mpeg": "video/mpeg",
}
_SOUNDS = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "pcm16": "audio/pcm",
}
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ContentWriter:
    """Writes the parts of one request. `dropped` collects what was left out by the documented list. `with_ids`: the model
    knows ids of calls; `with_media`: its functions may answer with images and files; `signs`: it refuses unsigned calls."""

    def __init__(self, target: str, *, with_ids: bool, with_media: bool, signs: bool, needs_type: bool) -> None:
        self._target = target
        self._with_ids = with_ids
        self._signs = signs
        self._needs_type = needs_type
        self.with_media = with_media
        self.dropped: dict[str, None] = {}

    def refuse(self, path: str, what: str) -> UnsupportedFeature:
        return UnsupportedFeature(f"{path}: {what} (target {self._target})", param=path)

    def drop(self, name: str) -> None:
        self.dropped[name] = None

    # -- whole turns ------------------------------------------------------------------------------------------

    def said_by_model(self, parts: Iterable[Part], path: str) -> list[Any]:
        """The parts of a turn of the model's. Only the first call of a turn must be signed."""
        written: list[Any] = []
        has_call = False
        for index, part in enumerate(parts):
            one = self._part(part, f"{path}[{index}]")
            if isinstance(part, ToolCall) and isinstance(one, dict):
                if self._signs and not has_call and "thoughtSignature" not in one:
                    one["thoughtSignature"] = UNSIGNED
                has_call = True
            if one is not None:
                written.append(one)
        return written

    def said_by_user(self, parts: Iterable[Part], path: str) -> list[Any]:
        """The parts of a user's or a system's turn, but for results of tools."""
        found = (self._part(part, f"{path}[{index}]") for index, part in enumerate(parts))
        return [one for one in found if one is not None]

    # -- one part ---------------------------------------------------------------------------------------------

    def _part(self, part: Part, path: str) -> Json | msgspec.Raw | None:
        if getattr(part, "cache", None) is not None:
            self.drop("cache_control")
        match part:
            case Text():
                return self._text(part)
            case ToolCall():
                return self._call(part, path)
            case Reasoning():
                return self._thought(part)
            case Image():
                if part.detail not in {"", "auto"}:
                    self.drop("image detail")
                return self._medium(part.source, "image", path)
            case Document():
                return self._document(part, path)
            case Audio():
                return self._audio(part, path)
            case Refusal():
                return {"text": part.text} if part.text else None
            case Opaque() if part.family is Family.GEMINI:
                return part.raw
            case Opaque():
                raise self.refuse(path, f"{part.kind!r} can only be read by {part.family.value}")
            case _:
                raise self.refuse(path, "the result of a tool can only stand in a user's turn")

    def _text(self, part: Text) -> Json | None:
        """Gemini refuses empty texts, but for those that it signed."""
        if part.citations:
            self.drop("citations")
        if part.signature:
            return {"text": part.text, "thoughtSignature": part.signature}
        return {"text": part.text} if part.text else None

    def _thought(self, part: Reasoning) -> Json | None:
        """Only what Gemini signed goes back to it; anybody else's thoughts would be taken for the model's words."""
        if part.family is not Family.GEMINI or not part.signature:
            self.drop("reasoning")
            return None
        return {"text": part.text, "thoughtSignature": part.signature} | ({"thought": True} if part.text else {})

    def _call(self, part: ToolCall, path: str) -> Json:
        if part.is_custom:
            call: Json = {"name": part.name, "args": {"input": part.arguments}}
        else:
            try:
                _OBJECT.decode(part.arguments or "{}")
            except (msgspec.MsgspecError, RecursionError):
                raise self.refuse(path, "the arguments of a tool call must be a JSON object") from None
            call = {"name": part.name, "args": msgspec.Raw((part.arguments or "{}").encode())}
        if part.id and self._with_ids:
            call["id"] = part.id
        signature = part.signature if part.family is Family.GEMINI else ""
        return {"functionCall": call} | ({"thoughtSignature": signature} if signature else {})

    def result(self, part: ToolResult, name: str, media: list[Any]) -> Json:
        """The answer of a function by its `name`. What it shows stands in it where the model can see it there, else it is
        added to `media`."""
        if part.cache is not None:
            self.drop("cache_control")
        path = f"messages: the result of {name}"
        text = "\n".join(each.text for each in part.parts if isinstance(each, Text))
        shown = self.said_by_user((each for each in part.parts if not isinstance(each, Text)), path)
        answer: Json = {"name": name, "response": _answer(text, is_error=part.is_error is True)}
        if part.call_id and self._with_ids:
            answer["id"] = part.call_id
        if shown and self.with_media and all(isinstance(one, dict) and "text" not in one for one in shown):
            answer["parts"] = shown
        else:
            media += shown
        return {"functionResponse": answer}

    # -- media ------------------------------------------------------------------------------------------------

    def _document(self, part: Document, path: str) -> Json:
        if part.is_cited:
            self.drop("document.citations")
        if part.context:
            self.drop("document.context")
        if part.source.text:
            head = f"{part.name}:\n\n" if part.name else ""
            return {"text": head + part.source.text}
        if part.name:
            self.drop("file's name")
        return self._medium(part.source, "document", path, part.name)

    def _audio(self, part: Audio, path: str) -> Json:
        if part.source.data or part.source.url:
            kind = _SOUNDS.get(part.format, "") or part.source.media_type
            return self._medium(msgspec.structs.replace(part.source, media_type=kind), "audio", path)
        if part.transcript:
            return {"text": part.transcript}
        raise self.refuse(path, "what a model said earlier can only be told by its sound or its transcript")

    def _medium(self, source: Source, what: str, path: str, name: str = "") -> Json:
        kind = source.media_type.partition(";")[0].lower().replace("image/jpg", "image/jpeg")
        if source.data:
            kind = kind or _sniffed(source.data) or _type_of(name)
            if not kind:
                raise self.refuse(path, f"Gemini must be told the media type of the {what}")
            return {"inlineData": {"mimeType": kind, "data": source.data}}
        uri = source.url or (source.file_id if source.file_id.startswith(_OWN_FILES) else "")
        if not uri:
            raise self.refuse(
                path, "a file id is only known to the provider that gave it" if source.file_id else "it is empty"
            )
        if not uri.lower().startswith(("http://", "https://", "gs://")):
            raise self.refuse(path, "Gemini fetches media by http, https and gs only")
        kind = kind or _type_of(urlsplit(uri).path) or _type_of(name)
        if not kind and self._needs_type:
            raise self.refuse(path, f"Vertex must be told the media type of the {what}, and its URL does not tell it")
        return {"fileData": ({"mimeType": kind} if kind else {}) | {"fileUri": uri}}


def _answer(text: str, *, is_error: bool) -> Json | msgspec.Raw:
    """A function answers with an object: what is one stays as it is, anything else is its `output`, or its `error`."""
    if is_error:
        return {"error": text}
    if text.lstrip().startswith("{"):
        try:
            _OBJECT.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return {"output": text}
        return msgspec.Raw(text.encode())
    return {"output": text}


def _sniffed(data: str) -> str:
    return next((kind for sign, kind in _SIGNS.items() if data.startswith(sign)), "")


def _type_of(path: str) -> str:
    return _TYPES.get(PurePosixPath(path).suffix.lower(), "")
