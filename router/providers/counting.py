"""How many tokens a Messages request would be, asked of providers that count in words of their own. One row a way to count.

What is counted is the request as it would be sent: the lane that would send it writes it.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, ModelRequest
from router.domain.usage import NOTHING, Usage
from router.providers.gemini.codec import VERTEX_ANTHROPIC_VERSION
from router.providers.passthrough import passed_body
from router.providers.refusals import Cause
from router.providers.translated import Framing, Translated, TranslatedMeter, Translation

_Members = Mapping[str, msgspec.Raw]
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Part(msgspec.Struct):
    type: str = ""


class _Message(msgspec.Struct):
    content: list[_Part] | str | None = None


_MESSAGES = msgspec.json.Decoder(list[_Message])
_COUNT = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0)])


class Asked(NamedTuple):
    """The question for a count: the request's own `members` as the lane wrote them, its `model` and `target`."""

    request: ModelRequest
    members: _Members
    model: str
    target: str

    def kept(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.members[name] for name in names if name in self.members}


class Question(NamedTuple):
    """`body` asks, `dropped` cannot be asked and changes next to nothing of the count."""

    body: Mapping[str, Any]
    dropped: tuple[str, ...] = ()


class Counting(NamedTuple):
    """One way to count. `said`: whose words the request is written in; `member`: of the answer, the number."""

    said: Api
    ask: Callable[[Asked], Question]
    member: str


def _converse(asked: Asked) -> Question:
    kept = asked.kept(("messages", "system", "toolConfig", "additionalModelRequestFields"))
    return Question({"input": {"converse": kept}})


def _gemini(asked: Asked) -> Question:
    """Without the wrapper the Gemini API takes `contents` alone. It wants the model named again."""
    model = asked.model if asked.model.startswith("tunedModels/") else f"models/{asked.model}"
    return Question({"generateContentRequest": {"model": model, **asked.members}})


def _vertex(asked: Asked) -> Question:
    if "cachedContent" in asked.members:
        message = f"cached_content: {asked.target} cannot count what Vertex has cached"
        raise UnsupportedFeature(message, param="cached_content")
    kept = asked.kept(("contents", "systemInstruction", "tools", "generationConfig"))
    return Question(kept, ("tool_choice",) if "toolConfig" in asked.members else ())


def _responses(asked: Asked) -> Question:
    told = ("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text")
    return Question(asked.kept(told))


def _tokenize(asked: Asked) -> Question:
    """Only what a chat template is given; whether a tool must be called and the answer's schema are no part of a prompt.
    A template has one mark for an image, however many tokens the model sees."""
    for index, message in enumerate(_MESSAGES.decode(asked.members["messages"])):
        if isinstance(message.content, list) and any(part.type != "text" for part in message.content):
            path = f"messages[{index}].content"
            raise UnsupportedFeature(f"{path}: {asked.target} can only count texts", param=path)
    return Question(asked.kept(("model", "messages", "tools", "chat_template_kwargs")))


def _simulated(asked: Asked) -> Question:
    return Question(asked.kept(("model", "messages", "tools", "tool_choice", "response_format")))


def _claude_on_vertex(asked: Asked) -> Question:
    """The caller's own words; the path names no model, so the body does."""
    members = _MEMBERS.decode(passed_body(asked.request, asked.model, inject_usage=False))
    return Question({"anthropic_version": VERTEX_ANTHROPIC_VERSION} | members)


CLAUDE_ON_VERTEX_COUNT = Counting(Api.MESSAGES, _claude_on_vertex, "input_tokens")

_COUNTINGS: Mapping[Api, Counting] = {
    Api.CONVERSE_COUNT: Counting(Api.CONVERSE, _converse, "inputTokens"),
    Api.GEMINI_COUNT: Counting(Api.GENERATE_CONTENT, _gemini, "totalTokens"),
    Api.RESPONSES_COUNT: Counting(Api.RESPONSES, _responses, "input_tokens"),
    Api.TOKENIZE: Counting(Api.CHAT, _tokenize, "count"),
}

_OF_TYPES: Mapping[str, Counting] = {
    "vertex": Counting(Api.GENERATE_CONTENT, _vertex, "totalTokens"),
    "simulated": Counting(Api.CHAT, _simulated, "count"),
}
"""Provider types that count by the same path as others, but take other members."""


def counting_of(spoken: Api, provider_type: str) -> Counting:
    return _OF_TYPES.get(provider_type) or _COUNTINGS[spoken]


class CountTokens:
    """Implements `providers.translation.Translator`, over the lane that would send the request."""

    def __init__(self, lane: Translated, counting: Counting) -> None:
        self._lane = lane
        self._counting = counting

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> "CountedRequest":
        made = self._lane.translation(request, model, target)
        question = self._counting.ask(Asked(request, _MEMBERS.decode(made.body), model, target))
        return CountedRequest(made, question, self._counting.member)


class CountedRequest:
    """Implements `providers.translation.TranslatedRequest`. Counting is free."""

    __slots__ = ("body", "dropped", "parts", "_made", "_member")

    def __init__(self, made: Translation, question: Question, member: str) -> None:
        self.body = msgspec.json.encode(question.body)
        self.dropped = (*made.dropped, *question.dropped)
        self.parts = None
        self._member = member
        self._made = made

    @property
    def framing(self) -> Framing:
        return self._made.framing

    def answer(self, body: bytes, at: int, name: str = "") -> tuple[bytes, Usage | None]:
        try:
            told = _COUNT.decode(_MEMBERS.decode(body)[self._member])
        except KeyError:
            raise ValueError(f"the answer is no count: it has no {self._member}") from None
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"the answer is no count: {error}") from None
        return msgspec.json.encode({"input_tokens": told}), NOTHING

    def refusal(self, status: int, body: bytes, cause: Cause = Cause.BAD_REQUEST, request_id: str = "") -> bytes:
        return self._made.refusal(status, body, cause, request_id)

    def meter(self, at: int, name: str = "") -> TranslatedMeter:
        return self._made.meter(at, name)

    def spent(self) -> Usage | None:
        return NOTHING
