"""Images, documents, video and sound as blocks: inline, or at S3; nothing is fetched from anywhere else."""

import re
from base64 import b64decode
from typing import Any

from router.domain.chat import Audio, Document, Image, Source
from router.providers.bedrock.wording import AUDIO_FORMATS, DOCUMENT_FORMATS, IMAGE_FORMATS, SIGNS, VIDEO_FORMATS
from router.providers.saying import Saying

Json = dict[str, Any]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_SPACES = re.compile(r"\s+")
_MOST_NAME = 200
_CITED = frozenset({"txt", "md"})


class MediaWriter:
    """Names of documents are made to fit Bedrock's rules, and are used once in a request."""

    def __init__(self, saying: Saying) -> None:
        self._saying = saying
        self._names: set[str] = set()

    def image(self, part: Image, path: str) -> Json:
        if part.detail and part.detail != "auto":
            self._saying.drop("image detail")
        source = part.source
        self._require_near(source, path)
        form = IMAGE_FORMATS.get(_plain(source.media_type)) or _sniffed(source.data)
        if form is None and source.url:
            form = IMAGE_FORMATS.get(f"image/{_ending(source.url)}")
        if form is None:
            self._saying.refuse(path, f"Bedrock takes images as {_listed(IMAGE_FORMATS)}, found {source.media_type!r}")
        return {"image": {"format": form, "source": self._source(source, path)}}

    def document(self, part: Document, path: str) -> Json:
        source = part.source
        self._require_near(source, path)
        kind = _plain(source.media_type)
        if (video := VIDEO_FORMATS.get(kind)) is not None:
            if part.name:
                self._saying.drop("file's name")
            return {"video": {"format": video, "source": self._source(source, path)}}
        ending = _ending(part.name or source.url)
        form = DOCUMENT_FORMATS.get(kind) or (ending if ending in DOCUMENT_FORMATS.values() else None)
        if form is None and (source.text or kind.startswith("text/")):
            form = "txt"
        if form is None:
            self._saying.refuse(path, f"Bedrock takes documents as {_listed(DOCUMENT_FORMATS)}, found {kind or ending!r}")
        block: Json = {"format": form, "name": self._name(part.name), "source": self._document_source(part, form, path)}
        if part.context:
            block["context"] = part.context
        if part.is_cited:
            block["citations"] = {"enabled": True}
        return {"document": block}

    def audio(self, part: Audio, path: str) -> Json:
        form = AUDIO_FORMATS.get(part.format.lower())
        if form is None:
            self._saying.refuse(path, f"Bedrock takes sound as {_listed(AUDIO_FORMATS)}, found {part.format!r}")
        return {"audio": {"format": form, "source": self._source(part.source, path)}}

    def _document_source(self, part: Document, form: str, path: str) -> Json:
        """Only of a text that is told as one can passages be cited."""
        source = part.source
        if source.text or not (source.data or source.url or source.file_id):
            return {"text": source.text}
        if part.is_cited and form in _CITED and source.data:
            try:
                return {"text": b64decode(source.data, validate=True).decode()}
            except ValueError:
                self._saying.refuse(path, "the document is no base64 of a UTF-8 text")
        return self._source(source, path)

    def _source(self, source: Source, path: str) -> Json:
        self._require_near(source, path)
        if source.data:
            return {"bytes": source.data}
        if not source.url:
            self._saying.refuse(path, "there is no data in it")
        return {"s3Location": {"uri": source.url}}

    def _require_near(self, source: Source, path: str) -> None:
        """In the request, or where Bedrock itself can read."""
        if source.url and not source.url.startswith("s3://"):
            self._saying.refuse(path, "Bedrock fetches media from S3 alone (s3://bucket/key); send the data")
        if source.file_id:
            self._saying.refuse(path, "a file id is only known to the provider that gave it")

    def _name(self, given: str) -> str:
        """Letters, digits, single spaces, hyphens, brackets; a second one of a name gets a number."""
        plain = _SPACES.sub(" ", _NOT_IN_NAMES.sub(" ", given)).strip()[:_MOST_NAME].strip() or "document"
        name, number = plain, 1
        while name in self._names:
            number += 1
            name = f"{plain[: _MOST_NAME - 8]} {number}"
        self._names.add(name)
        return name


def _plain(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _ending(name: str) -> str:
    return name.rpartition(".")[2].partition("?")[0].lower() if "." in name else ""


def _sniffed(data: str) -> str | None:
    return next((form for sign, form in SIGNS.items() if data.startswith(sign)), None)


def _listed(formats: dict[str, str]) -> str:
    return ", ".join(sorted(set(formats.values())))
