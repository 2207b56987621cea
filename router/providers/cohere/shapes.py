"""What Cohere's answers and events hold, as far as it is read."""

from typing import Any

import msgspec

from router.domain.chat import Citation, Family, Logprob
from router.providers.openai_chat_codec.shapes import text_of


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    id: str | None = None
    function: Function | None = None


class Block(msgspec.Struct):
    """A content block, its beginning or more of it. `type` is told with the beginning."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class Message(msgspec.Struct):
    content: list[msgspec.Raw] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: list[msgspec.Raw] | None = None


class Answer(msgspec.Struct):
    id: str | None = None
    message: Message | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    logprobs: Any = None


class Added(msgspec.Struct):
    """What an event of a stream adds to the message. At its beginning the lists stand for what is one object later."""

    content: msgspec.Raw = msgspec.Raw()
    tool_plan: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class Delta(msgspec.Struct):
    message: Added | None = None
    error: Any = None
    finish_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct):
    type: str | None = ""
    id: str | None = None
    index: int | None = 0
    delta: Delta | None = None
    logprobs: Any = None
    message: Any = None


class Cited(msgspec.Struct):
    """`type`: of what kind of block, a text where Cohere does not tell."""

    start: int | None = None
    end: int | None = None
    sources: list[dict[str, Any]] | None = None
    type: str | None = "TEXT_CONTENT"
    content_index: int | None = None


ANSWER = msgspec.json.Decoder(Answer)
EVENT = msgspec.json.Decoder(Event)
BLOCK = msgspec.json.Decoder(Block)
CALL = msgspec.json.Decoder(Call)
_CITED = msgspec.json.Decoder(Cited)


def citation_of(told: msgspec.Raw) -> tuple[Citation, int | None] | None:
    """A citation and the content block it is of; None for one of a thought or a plan, where nothing can hold it."""
    cited = _CITED.decode(told)
    if cited.type not in {"TEXT_CONTENT", None}:
        return None
    source = cited.sources[0] if cited.sources else {}
    rests_on = source.get("document") or source.get("tool_output")
    rests_on = rests_on if isinstance(rests_on, dict) else {}
    return Citation(
        family=Family.COHERE,
        raw=msgspec.Raw(bytes(told)),
        url=text_of(rests_on.get("url")),
        title=text_of(rests_on.get("title")),
        quote=text_of(rests_on.get("text")) or text_of(rests_on.get("content")),
        start=cited.start,
        end=cited.end,
    ), cited.content_index


def logprobs_of(told: Any) -> tuple[Logprob, ...]:
    """Cohere tells the words of several tokens together: their probabilities are multiplied."""
    items = told if isinstance(told, list) else [told]
    return tuple(_logprob(item) for item in items if isinstance(item, dict) and isinstance(item.get("text"), str))


def _logprob(item: dict[str, Any]) -> Logprob:
    found = item.get("logprobs")
    values = found if isinstance(found, list) else []
    return Logprob(item["text"], float(sum(value for value in values if isinstance(value, int | float))))
