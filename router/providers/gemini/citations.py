"""What a text rests on, as Gemini tells it behind the text: grounding and recitation, by offsets in bytes of UTF-8."""

from collections.abc import Iterator
from typing import Any

import msgspec

from router.domain.chat import Citation, Family
from router.providers.gemini.shapes import Candidate, text_of

_CHUNKS = ("web", "retrievedContext", "maps", "image")


def citations_of(candidate: Candidate, text: str) -> tuple[Citation, ...]:
    """Those of one candidate. `text` is all of what it says: offsets are told in its bytes, and given in its characters."""
    grounding, recited = candidate.grounding_metadata, candidate.citation_metadata
    if not isinstance(grounding, dict) and not isinstance(recited, dict):
        return ()
    told = text.encode("utf-8", "surrogatepass")
    return (*_grounded(grounding, told), *_recited(recited, told))


def _grounded(grounding: object, told: bytes) -> Iterator[Citation]:
    if not isinstance(grounding, dict):
        return
    chunks = [_chunk(item) for item in _objects(grounding.get("groundingChunks"))]
    supports = _objects(grounding.get("groundingSupports"))
    for support in supports:
        segment = support.get("segment")
        span = segment if isinstance(segment, dict) else {}
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            if type(index) is int and 0 <= index < len(chunks):
                yield _citation(support | {"groundingChunk": chunks[index]}, chunks[index], span, told)
    if not supports:
        for chunk in chunks:
            yield _citation({"groundingChunk": chunk}, chunk, {}, told)


def _recited(recited: object, told: bytes) -> Iterator[Citation]:
    for item in _objects(recited.get("citations")) if isinstance(recited, dict) else ():
        yield _citation(item, item, item, told)


def _citation(raw: dict[str, Any], chunk: dict[str, Any], span: dict[str, Any], told: bytes) -> Citation:
    end = span.get("endIndex")
    start = span.get("startIndex", 0 if end is not None else None)
    first, last = _placed(told, _characters(told, start), _characters(told, end), text_of(span.get("text")))
    return Citation(
        family=Family.GEMINI,
        raw=msgspec.Raw(msgspec.json.encode(raw)),
        url=text_of(chunk.get("uri")),
        title=text_of(chunk.get("title")),
        quote=text_of(span.get("text")),
        start=first,
        end=last,
    )


def _placed(told: bytes, start: int | None, end: int | None, quote: str) -> tuple[int | None, int | None]:
    """Where the quote stands, next to where the offsets say: behind some characters they are some too many."""
    text = told.decode("utf-8", "replace") if quote and start is not None else ""
    if not text or start is None or text[start:end] == quote:
        return start, end
    before, behind = text.rfind(quote, 0, start + len(quote)), text.find(quote, start)
    found = [place for place in (before, behind) if place >= 0]
    if not found:
        return start, end
    nearest = min(found, key=lambda place: abs(place - start))
    return nearest, nearest + len(quote)


def _characters(told: bytes, offset: object) -> int | None:
    return len(told[:offset].decode("utf-8", "ignore")) if type(offset) is int and offset >= 0 else None


def _chunk(item: dict[str, Any]) -> dict[str, Any]:
    found = next((item[name] for name in _CHUNKS if isinstance(item.get(name), dict)), item)
    return found if isinstance(found, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def shifted_by(before: int, citation: Citation) -> Citation:
    """With offsets in a text that begins `before` characters into the whole one."""
    if not before or citation.start is None or citation.end is None:
        return citation
    return msgspec.structs.replace(citation, start=max(0, citation.start - before), end=max(0, citation.end - before))
