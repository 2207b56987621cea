"""From an Ask to what is said: text or tool calls as tokens, within the cap. Pure: the same ask gives the same reply."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from router.providers.simulated.request import Ask, BadRequest, FunctionTool
from router.providers.simulated.schema import SchemaInstance
from router.providers.simulated.text import Draws, keywords, tokenize, write

_NATURAL = (24, 49)  # a text has at least 24 tokens and ends with the sentence that passes 24 to 72
_QUOTED = 80
_MOST_TOKENS = 50_000  # of several choices together
_NAME_PART = re.compile(r"[A-Z]?[a-z]{3,}")
_VERB_LIST = "get set find search fetch list call run query lookup look make create the and for with tool"
_VERBS = frozenset(_VERB_LIST.split())


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; naming the function is a token of its own. `complete` is False where the cap cut the arguments."""

    id: str
    name: str
    arguments: tuple[str, ...]
    complete: bool = True

    @property
    def tokens(self) -> int:
        return 1 + len(self.arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice. `finish` is `stop`, `length` or `tool_calls`; `reasoning` tokens are counted and not shown."""

    text: tuple[str, ...]
    calls: tuple[Call, ...]
    finish: str
    reasoning: int

    @property
    def visible_tokens(self) -> int:
        return len(self.text) + sum(call.tokens for call in self.calls)

    @property
    def tokens(self) -> int:
        return self.reasoning + self.visible_tokens


@dataclass(frozen=True, slots=True)
class Count:
    """What a request used, in tokens; `output` includes `reasoning`."""

    input: int
    output: int
    reasoning: int


def count(asks: Iterable[Ask], replies: Iterable[Reply]) -> Count:
    said = list(replies)
    return Count(sum(a.prompt_tokens for a in asks), sum(r.tokens for r in said), sum(r.reasoning for r in said))


def compose(ask: Ask, seed: int, output_tokens: int | None) -> tuple[Reply, ...]:
    """One Reply per choice. `output_tokens`: a text has exactly so many before stop and cap apply. Raises BadRequest."""
    if ask.n > 1 and ask.n * (output_tokens or 0) > _MOST_TOKENS:
        raise BadRequest(
            f"Too many choices: n x {output_tokens} tokens is over {_MOST_TOKENS}.", "n", "integer_above_max_value"
        )
    return tuple(_reply(ask, Draws(seed, ask.key.hex(), index), output_tokens) for index in range(ask.n))


def _reply(ask: Ask, draws: Draws, output_tokens: int | None) -> Reply:
    reasoning = ask.reasoning_tokens if ask.cap is None else min(ask.reasoning_tokens, ask.cap)
    room = None if ask.cap is None else ask.cap - reasoning
    if ask.tools and (ask.must_call or ask.tool_result is None):
        calls, is_cut = _within(_calls(ask, draws), room)
        return Reply((), calls, "length" if is_cut else "tool_calls", reasoning)
    text = _structured(ask, draws) if ask.shape else _prose(ask, draws, output_tokens)
    text = _before_stop(text, ask.stop)
    if room is not None and len(text) > room:
        return Reply(text[:room], (), "length", reasoning)
    return Reply(text, (), "stop", reasoning)


def _prose(ask: Ask, draws: Draws, output_tokens: int | None) -> tuple[str, ...]:
    words = keywords(ask.tool_result or ask.question)
    opening = ""
    if ask.tool_result is not None:
        opening = f"The tool answered: {_quote(ask.tool_result)}."
    elif ask.question and draws.below(3) == 0:
        opening = f'You asked: "{_quote(ask.question)}".'
    target = _NATURAL[0] + draws.below(_NATURAL[1]) if output_tokens is None else output_tokens
    return write(draws, words, opening, target, exact=output_tokens is not None)


def _quote(text: str) -> str:
    plain = " ".join(text[: 4 * _QUOTED].split())
    return plain if len(plain) <= _QUOTED else plain[: _QUOTED - 3].rsplit(" ", 1)[0] + "..."


def _structured(ask: Ask, draws: Draws) -> tuple[str, ...]:
    words = keywords(ask.question)
    if ask.shape is not None and ask.shape.schema is not None:
        return tokenize(encode(SchemaInstance(ask.shape.schema, draws, words).make()))
    answer = "".join(write(draws, words, "", 12, exact=False))
    return tokenize(encode({"answer": answer, "topics": list(words[:3]), "confidence": 0.9}))


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _before_stop(text: tuple[str, ...], stops: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens before the first stop sequence; one that the sequence begins within keeps its first part."""
    if not stops:
        return text
    whole = "".join(text)
    ends = [found for stop in stops if (found := whole.find(stop)) >= 0]
    if not ends:
        return text
    kept: list[str] = []
    left = min(ends)
    for token in text:
        if left <= 0:
            break
        kept.append(token[:left])
        left -= len(token)
    return tuple(kept)


def _calls(ask: Ask, draws: Draws) -> list[Call]:
    """A call of each tool the question names by a word of its name, else of the tool that shares most words with it.

    Without `parallel` only the first.
    """
    asked = {word.lower() for word in _NAME_PART.findall(ask.question)} | {w.lower() for w in ask.question.split()}
    named = [tool for tool in ask.tools if _parts(tool.name) & asked]
    if not named:
        named = [max(ask.tools, key=lambda tool: len(_parts(tool.description) & asked))]
    words = keywords(ask.question)
    return [_call(tool, draws, words) for tool in (named if ask.parallel else named[:1])]


def _parts(text: str) -> set[str]:
    return {part.lower() for part in _NAME_PART.findall(text)} - _VERBS


def _call(tool: FunctionTool, draws: Draws, words: tuple[str, ...]) -> Call:
    parameters: Mapping[str, Any] = {"type": "object", **tool.parameters}
    arguments = SchemaInstance(parameters, draws, words).make()
    return Call(f"call_{draws.hex(24)}", tool.name, tokenize(encode(arguments)))


def _within(calls: list[Call], room: int | None) -> tuple[tuple[Call, ...], bool]:
    """The calls as far as `room` tokens go, and whether that cut them."""
    if room is None:
        return tuple(calls), False
    kept: list[Call] = []
    for call in calls:
        if room <= 0:
            return tuple(kept), True
        if call.tokens > room:
            return (*kept, Call(call.id, call.name, call.arguments[: room - 1], complete=False)), True
        kept.append(call)
        room -= call.tokens
    return tuple(kept), False
