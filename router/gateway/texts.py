"""What of a request is plain text, for a tokenizer to count, and how many bytes are not. Pure.

What is counted is taken out of the body's bytes, and all that is left counts by its bytes: tools, formats, names, a member
that stands there twice. So the sum is as good a bound as the bytes alone, wherever a provider may put those parts.
"""

from collections.abc import Iterable

import msgspec

from router.domain.requests import Api, ModelRequest

MESSAGE_TOKENS = 8
"""Around one message. OpenAI's published recipe says 3, and 1 more for a name; the rest is for the headings that newer
templates put before instructions."""

MOST_BYTES = 4 * 2**20
"""Of a body that is looked into: it is read on the event loop."""

LONGEST_TOKEN = 128
"""Characters: of o200k_base a run of spaces."""

_FRAME = len('"":,')
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


class Texts(msgspec.Struct, frozen=True):
    """`parts` are to be counted, `rest` is the most tokens that everything else can be."""

    parts: tuple[str, ...]
    rest: int

    @property
    def least(self) -> int:
        """No count finds fewer tokens."""
        return self.rest + sum(len(part) for part in self.parts) // LONGEST_TOKEN


class _NotText(Exception):
    """Something else than text is in it: what it counts is not public."""


def texts_of(request: ModelRequest) -> Texts | None:
    """The texts of a chat, a response, a completion or an embedding; None where it holds anything else, or nothing."""
    body = request.body
    if len(body) > MOST_BYTES:
        return None
    try:
        members = _MEMBERS.decode(body)
        if request.api is Api.CHAT:
            counted = [_messages(members["messages"])]
        elif request.api is Api.RESPONSES:
            counted = [_input(members["input"])]
            if "instructions" in members:
                counted.append(_content(members["instructions"]))
        elif request.api is Api.COMPLETIONS:
            counted = [_content(members["prompt"])]
        elif request.api is Api.EMBEDDINGS:
            counted = [_content(members["input"])]
        else:
            return None
    except (_NotText, KeyError, msgspec.MsgspecError, UnicodeError):
        return None
    whole = _sum(counted)
    return Texts(whole.parts, len(body) + whole.rest) if whole.parts else None


# Below, `rest` is what to add to the bytes of the body: minus those of the texts, plus what stands for their frame.


def _sum(counted: Iterable[Texts]) -> Texts:
    every = list(counted)
    return Texts(tuple(part for each in every for part in each.parts), sum(each.rest for each in every))


def _messages(raw: msgspec.Raw) -> Texts:
    return _sum(_message(item) for item in _ITEMS.decode(raw))


def _input(raw: msgspec.Raw) -> Texts:
    """Of Responses: a string, or messages among other items, which count by their bytes."""
    if bytes(raw)[:1] == b'"':
        return _string(raw)
    return _sum(_message(item) for item in _ITEMS.decode(raw))


def _message(raw: msgspec.Raw) -> Texts:
    """A message without a text, such as a call of a tool, counts by its bytes."""
    members = _MEMBERS.decode(raw)
    if "audio" in members:
        raise _NotText
    counted = []
    for name in ("role", "name", "content"):
        value = members.get(name)
        if value is not None and bytes(value) != b"null":
            inner = _content(value)
            # No comma follows the last member, but two braces stand around them all: there are bytes for every frame.
            counted.append(Texts(inner.parts, inner.rest - len(name) - _FRAME))
    whole = _sum(counted)
    return Texts(whole.parts, whole.rest + MESSAGE_TOKENS) if whole.parts else Texts((), 0)


def _content(raw: msgspec.Raw) -> Texts:
    """A string, or a list of strings and parts that are text."""
    if bytes(raw)[:1] == b'"':
        return _string(raw)
    return _sum(_part(item) for item in _ITEMS.decode(raw))


def _part(raw: msgspec.Raw) -> Texts:
    if bytes(raw)[:1] == b'"':
        return _string(raw)
    members = _MEMBERS.decode(raw)
    if members.keys() != {"type", "text"} or _STRING.decode(members["type"]) not in _TEXT_PARTS:
        raise _NotText
    return _string(members["text"])


def _string(raw: msgspec.Raw) -> Texts:
    return Texts((_STRING.decode(raw),), -len(bytes(raw)))
