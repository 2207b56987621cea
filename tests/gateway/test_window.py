"""What is certain to be too long for a model is known before it is sent; what may fit is sent."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from router.domain.errors import ContextLengthExceeded, UpstreamError
from router.domain.requests import Api, Kind, ModelRequest, parse_request
from router.domain.routes import Alias, Candidate, FallbackReason, Strategy, Target
from router.gateway.window import LONGEST_TOKEN, Windows
from router.server.errors import status_of
from router.server.headers import answer_headers
from tests.gateway.fakes import answer, chat, status
from tests.gateway.table import PRICE, Table, alias

ON_WINDOW = {FallbackReason.CONTEXT_WINDOW: ("big",)}


class Words:
    """Counts words, for any tokenizer."""

    def __init__(self) -> None:
        self.counts = 0

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        self.counts += 1
        return sum(len(text.split()) for text in texts)


def messages(**fields: Any) -> ModelRequest:
    body = {"model": "a", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]} | fields
    return parse_request(Api.MESSAGES, msgspec.json.encode(body))


def gpt(provider: str) -> Target:
    return Target(f"{provider}/m", provider, "gpt-4o-mini", price=PRICE, provider_type="openai")


def windowed(window: int = 10, fallbacks: Any = None, *more: Target, **changes: Any) -> tuple[Table, Words]:
    small = Alias("a", Kind.CHAT, (gpt("p"), *more), context_window=window, fallbacks=fallbacks or {}, **changes)
    table = Table(small, alias("big", "q"), p=[answer()], q=[answer()])
    words = table.gateway.treasury.tokens = Words()
    return table, words


def saying(words: int) -> ModelRequest:
    return chat(messages=[{"role": "user", "content": "word " * words}])


async def test_what_is_certain_to_be_too_long_is_refused_without_a_call() -> None:
    table, _ = windowed()
    with pytest.raises(ContextLengthExceeded, match=r"10 tokens.*at least 11 tokens") as refused:
        await table.ask(saying(11))
    assert status_of(refused.value) == 400 and refused.value.param == "messages"
    assert not table.transport.calls and not table.ledger.entries


async def test_what_is_certain_to_be_too_long_goes_to_its_fallback_without_a_call() -> None:
    table, _ = windowed(10, ON_WINDOW)
    got = await table.ask(saying(11))
    assert (got.provider, got.attempts, table.transport.hosts) == ("q", 1, ["q"])
    assert answer_headers(got, explain=False)["X-Router-Fallback"] == "on_context_window: big"


@pytest.mark.parametrize(
    "request_",
    [
        saying(10),
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + "x " * 400}}]}]),
        chat(messages=[{"role": "user", "content": "word " * 11}], transforms=["middle-out"]),
        chat(
            messages=[{"role": "user", "content": "x"}], tools=[{"type": "function", "function": {"description": "y " * 99}}]
        ),
    ],
)
async def test_what_may_fit_is_sent(request_: ModelRequest) -> None:
    table, _ = windowed()
    assert (await table.ask(request_)).provider == "p"


async def test_a_short_request_is_not_looked_into() -> None:
    table, words = windowed(100_000)
    await table.ask(saying(50))
    assert words.counts == 0


async def test_a_target_of_an_unknown_tokenizer_is_asked_unless_no_token_is_that_long() -> None:
    other = Target("q/m", "q", "m", price=PRICE, provider_type="openai-compatible")
    table, _ = windowed(10, None, other, strategy=Strategy.PRIORITY)
    assert (await table.ask(saying(11))).provider == "q"
    with pytest.raises(ContextLengthExceeded):
        await table.ask(chat(messages=[{"role": "user", "content": "x" * (11 * LONGEST_TOKEN)}]))


async def test_a_listed_window_is_each_targets_own_and_not_the_least_of_all() -> None:
    table, _ = windowed(10, None, is_window_listed=True)
    assert (await table.ask(saying(11))).provider == "p"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "word " * 11}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "word " * 11}]}]}, "input"),
        ({"input": "word", "instructions": "word " * 11}, "input"),
    ],
)
async def test_responses_are_looked_into_too(body: dict[str, Any], param: str) -> None:
    table, _ = windowed()
    with pytest.raises(ContextLengthExceeded) as refused:
        await table.ask(parse_request(Api.RESPONSES, msgspec.json.encode({"model": "a"} | body)))
    assert refused.value.param == param
    shortened = parse_request(Api.RESPONSES, msgspec.json.encode({"model": "a", "truncation": "auto"} | body))
    assert (await table.ask(shortened)).provider == "p"


async def test_messages_are_told_in_anthropics_words() -> None:
    request = messages(system=[{"type": "text", "text": "word " * 11}])
    small = Alias("a", Kind.CHAT, (gpt("p"),), context_window=10)
    with_words = Windows(request, Words())
    refused = await with_words.excess(Candidate(gpt("p"), small, "gpt-4o-mini", "target"))
    assert refused is not None and refused.message.startswith("prompt is too long: 12 tokens > 10 maximum")


async def test_a_failure_is_told_where_only_what_is_too_small_is_left() -> None:
    own = alias("a", "p", fallbacks={FallbackReason.DEFAULT: ("tiny",)}, max_attempts=2)
    table = Table(own, Alias("tiny", Kind.CHAT, (gpt("q"),), context_window=10), p=[status(500)], q=[answer()])
    table.gateway.treasury.tokens = Words()
    with pytest.raises(UpstreamError):
        await table.ask(saying(11))
    assert table.transport.hosts == ["p"]
