"""Annotations of a text as citations, and back."""

from typing import Any

from router.domain.chat import Citation, Family, Logprob
from router.providers.openai_chat_codec.members import raw
from router.providers.openai_chat_codec.shapes import text_of

Json = dict[str, Any]


def citations_of(value: object) -> tuple[Citation, ...]:
    """What is no annotation is left out."""
    items = value if isinstance(value, list) else ()
    return tuple(citation_of(item) for item in items if isinstance(item, dict))


def citation_of(item: Json) -> Citation:
    start, end = item.get("start_index"), item.get("end_index")
    return Citation(
        family=Family.RESPONSES,
        raw=raw(item),
        url=text_of(item.get("url")),
        title=text_of(item.get("title")) or text_of(item.get("filename")),
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
    )


def annotation(citation: Citation, length: int) -> Any:
    """Where its author gives no offsets it stands for the whole text that cites, which is `length` characters long."""
    if citation.family is Family.RESPONSES and not _is_short(citation):
        return citation.raw
    return {
        "type": "url_citation",
        "start_index": 0 if citation.start is None else citation.start,
        "end_index": length if citation.end is None else citation.end,
        "url": citation.url,
        "title": citation.title,
    }


def _is_short(citation: Citation) -> bool:
    """Some servers give a URL alone, which OpenAI's SDKs do not know."""
    return bool(citation.url) and (citation.start is None or citation.end is None)


def logprob_object(one: Logprob) -> Json:
    return _logprob(one) | {"top_logprobs": [_logprob(top) for top in one.top]}


def _logprob(one: Logprob) -> Json:
    data = tuple(one.token.encode()) if one.data is None else one.data
    return {"token": one.token, "bytes": data, "logprob": one.logprob}
