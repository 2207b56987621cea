"""What goes to Redis in one call, and what the answer means. Pure: rules, numbers and bytes, no sockets, no clock.

The layout is the one that scripts/acquire.lua describes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import msgspec

from router.domain.limits import UNLIMITED, Allowance, LimitRule, Limits, LimitScope, Refusal, Resource, key_of
from router.domain.ports import Reservation
from router.limits.redis_wire import WORDS_REMEMBERED, word, word_again

MAX_ASKS = 256
MAX_SETTLEMENTS = 512

_ANSWER_LENGTH = 9
# Lua counts in doubles: sums over a minute stay exact below 2**53.
_MAX = 2**40

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[int]).decode


class Ask(msgspec.Struct, eq=False):
    """One request that waits for its decision."""

    rules: Sequence[LimitRule]
    tokens: int
    answer: asyncio.Future[Reservation | Refusal]


class Settlement(msgspec.Struct, eq=False):
    """What was settled of requests under the same rules that were counted in one second (of Redis's clock; 0 for none): how
    far the tokens counted were off, by each rule, and how many requests have ended."""

    rules: Sequence[LimitRule]
    second: int
    tokens: list[int]
    ended: int = 0


class Settled(dict[tuple[int, int], Settlement]):
    """By the identity of the rules, which those of one API key share, and the second."""

    def add(self, rules: Sequence[LimitRule], second: int, held: int, used: int) -> None:
        """One request has ended that was counted with `held` tokens, and has used so many."""
        entry = self.get((id(rules), second))
        if entry is None:
            entry = self[id(rules), second] = Settlement(rules, second, [0] * len(rules))
        entry.ended += 1
        for at, rule in enumerate(rules):
            limit = rule.limits.tokens
            entry.tokens[at] += used - (held if limit is None or held <= limit else limit)

    def put_back(self, settlements: Sequence[Settlement]) -> None:
        """Of a call that was not carried out."""
        for more in settlements:
            none = Settlement(more.rules, more.second, [0] * len(more.rules))
            entry = self.setdefault((id(more.rules), more.second), none)
            entry.tokens = [sum(tokens) for tokens in zip(entry.tokens, more.tokens, strict=True)]
            entry.ended += more.ended

    def take(self) -> list[Settlement]:
        """What was settled first, as much as one call may carry."""
        if len(self) <= MAX_SETTLEMENTS:
            taken = [*self.values()]
            self.clear()
            return taken
        return [self.pop(name) for name in [*islice(self, MAX_SETTLEMENTS)]]


@dataclass(frozen=True, slots=True)
class Names:
    """Keys in Redis. All carry one constant hash tag, so that in a cluster one script may see them all."""

    prefix: str = "{routerd}:limits:1"
    owners: str = field(init=False)
    epoch: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "owners", f"{self.prefix}:owners")
        object.__setattr__(self, "epoch", f"{self.prefix}:epoch")

    def window(self, scope: LimitScope, subject: str) -> str:
        return f"{self.prefix}:{key_of(scope, subject)}"


class Batch(msgspec.Struct, eq=False):
    """Requests and settlements that travel together."""

    asks: Sequence[Ask]
    settled: Sequence[Settlement]

    def words(self, names: Names, owner: str) -> list[bytes]:
        """What the script is called with: how many keys there are, the keys, and its argument."""
        # Places are counted from 1, and the first is that of the owners.
        places: dict[str, int] = {}
        settled: list[int] = []
        for entry in self.settled:
            second, ended = entry.second, entry.ended
            for rule, tokens in zip(entry.rules, entry.tokens, strict=True):
                exact = clamped(tokens) if second else 0
                settled += (places.setdefault(rule.key, len(places) + 2), second, exact, ended)
        asked: list[int] = []
        # Requests of one API key share their rules, and so what is said of them.
        said: dict[int, list[int]] = {}
        for ask in self.asks:
            rules, tokens = ask.rules, ask.tokens
            numbers = said.get(id(rules))
            if numbers is None:
                numbers = said[id(rules)] = []
                for rule in rules:
                    numbers.append(places.setdefault(rule.key, len(places) + 2))
                    numbers += _limits(rule.limits)
            asked += (len(rules), clamped(tokens))
            asked += numbers
        prefix = names.prefix
        return [
            word_again(1 + len(places)),
            word_again(names.owners),
            *[_word(prefix, key) for key in places],
            word(_pack((owner, settled, asked))),
        ]

    def verdicts(self, answer: bytes) -> tuple[int, list[Refusal | Allowance]] | None:
        """The second of Redis's clock in which requests were counted, and for each that it was refused, or what is left.

        None from a server that does not know the owner and has done nothing. Raises ValueError.
        """
        try:
            numbers = _unpack(answer)
        except (msgspec.MsgspecError, TypeError) as error:
            raise ValueError("not an answer of the script") from error
        if numbers == [0]:
            return None
        if len(numbers) != 1 + _ANSWER_LENGTH * len(self.asks):
            raise ValueError("an answer of another length")
        at, verdicts = 1, []
        for ask in self.asks:
            verdicts.append(_verdict(ask.rules, numbers[at : at + _ANSWER_LENGTH]))
            at += _ANSWER_LENGTH
        return numbers[0] // 1_000_000, verdicts


def _verdict(rules: Sequence[LimitRule], numbers: list[int]) -> Refusal | Allowance:
    by, what, wait_ms, by_requests, left_requests, reset_requests, by_tokens, left_tokens, reset_tokens = numbers
    if by_requests and by_tokens:
        allowance = Allowance(
            rules[by_requests - 1].limits.requests,
            left_requests,
            reset_requests,
            rules[by_tokens - 1].limits.tokens,
            left_tokens,
            reset_tokens,
        )
    elif by_requests:
        allowance = Allowance(rules[by_requests - 1].limits.requests, left_requests, reset_requests)
    elif by_tokens:
        allowance = Allowance(None, None, None, rules[by_tokens - 1].limits.tokens, left_tokens, reset_tokens)
    else:
        allowance = UNLIMITED
    if by == 0:
        return allowance
    rule = rules[by - 1]
    limits = rule.limits
    resource, limit = (
        (Resource.REQUESTS, limits.requests),
        (Resource.TOKENS, limits.tokens),
        (Resource.PARALLEL, limits.parallel),
    )[what - 1]
    assert limit is not None, "only a limit refuses"
    return Refusal(rule.scope, rule.subject, resource, limit, wait_ms, allowance)


def _limits(limits: Limits) -> tuple[int, int, int]:
    """Requests, tokens, requests at a time; -1 is no limit."""
    requests, tokens, parallel = limits.requests, limits.tokens, limits.parallel
    return (
        -1 if requests is None else requests,
        -1 if tokens is None else tokens,
        -1 if parallel is None else parallel,
    )


@lru_cache(WORDS_REMEMBERED)
def _word(prefix: str, key: str) -> bytes:
    """The name of a window as it is sent."""
    return word(f"{prefix}:{key}")


def clamped(tokens: int) -> int:
    """A number of tokens, or a difference, that keeps sums exact."""
    if -_MAX < tokens < _MAX:
        return tokens
    return _MAX if tokens > 0 else -_MAX
