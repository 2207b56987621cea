"""What goes to Redis in one call, and what the answer means. Pure: rules, numbers and bytes, no sockets, no clock.

The layout is the one that scripts/acquire.lua describes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from router.domain.limits import UNLIMITED, Allowance, LimitRule, LimitScope, Refusal, Resource, key_of
from router.domain.ports import Reservation

MAX_ASKS = 256
MAX_SETTLEMENTS = 1024

_ANSWER_LENGTH = 9
# Lua counts in doubles: sums over a minute stay exact below 2**53.
_MAX = 2**40

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[int]).decode


@dataclass(slots=True, eq=False)
class Ask:
    """One request that waits for its decision."""

    rules: Sequence[LimitRule]
    tokens: int
    answer: asyncio.Future[Reservation | Refusal]


@dataclass(slots=True)
class Settlement:
    """What was settled of one rule's requests: how far the tokens counted were off, and how many requests have ended."""

    tokens: int = 0
    ended: int = 0


class Settled(dict[tuple[str, int], Settlement]):
    """By the key of the rule, and the second (of Redis's clock) in which the requests were counted, 0 for none."""

    def add(self, key: str, second: int, tokens: int, ended: int = 1) -> None:
        entry = self.get((key, second))
        if entry is None:
            entry = self[key, second] = Settlement()
        entry.tokens += tokens
        entry.ended += ended

    def take(self) -> "Settled":
        """What was settled first, as much as one call may carry."""
        return Settled((name, self.pop(name)) for name in list(islice(self, MAX_SETTLEMENTS)))


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`second` is the one of Redis's clock in which the request was counted, if it was."""

    second: int
    refusal: Refusal | None
    allowance: Allowance


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


class Batch:
    """Requests and settlements that travel together."""

    __slots__ = ("asks", "settled")

    def __init__(self, asks: list[Ask], settled: Settled) -> None:
        self.asks = asks
        self.settled = settled

    def packed(self, names: Names, owner: str) -> tuple[list[str], bytes]:
        """The script's KEYS and its argument."""
        keys = [names.owners]
        places: dict[str, int] = {}

        def place(key: str) -> int:
            found = places.get(key)
            if found is None:
                keys.append(f"{names.prefix}:{key}")
                found = places[key] = len(keys)
            return found

        settled: list[int] = []
        for (key, second), entry in self.settled.items():
            settled += (place(key), second, clamped(entry.tokens) if second else 0, entry.ended)
        asked: list[int] = []
        # Requests of one API key share their rules, and so what is said of them.
        said: dict[int, list[int]] = {}
        for ask in self.asks:
            rules = ask.rules
            numbers = said.get(id(rules))
            if numbers is None:
                numbers = said[id(rules)] = [number for rule in rules for number in (place(rule.key), *_limits(rule))]
            asked += (len(rules), min(_MAX, ask.tokens))
            asked += numbers
        return keys, _pack((owner, settled, asked))

    def verdicts(self, answer: bytes) -> list[Verdict] | None:
        """One for each request; None from a server that does not know the owner and has done nothing. Raises ValueError."""
        try:
            numbers = _unpack(answer)
        except (msgspec.MsgspecError, TypeError) as error:
            raise ValueError("not an answer of the script") from error
        if numbers == [0]:
            return None
        if len(numbers) != 1 + _ANSWER_LENGTH * len(self.asks):
            raise ValueError("an answer of another length")
        second = numbers[0] // 1_000_000
        return [
            _verdict(ask, numbers[at : at + _ANSWER_LENGTH], second)
            for ask, at in zip(self.asks, range(1, len(numbers), _ANSWER_LENGTH), strict=True)
        ]


def _limits(rule: LimitRule) -> tuple[int, ...]:
    limits = (rule.limits.requests, rule.limits.tokens, rule.limits.parallel)
    return tuple([-1 if limit is None else min(limit, _MAX) for limit in limits])


def _verdict(ask: Ask, numbers: list[int], second: int) -> Verdict:
    by, what, wait_ms, *left = numbers
    allowance = _allowance(ask.rules, left)
    if by == 0:
        return Verdict(second, None, allowance)
    rule = ask.rules[by - 1]
    resource, limit = (
        (Resource.REQUESTS, rule.limits.requests),
        (Resource.TOKENS, rule.limits.tokens),
        (Resource.PARALLEL, rule.limits.parallel),
    )[what - 1]
    assert limit is not None, "only a limit refuses"
    return Verdict(0, Refusal(rule.scope, rule.subject, resource, limit, wait_ms, allowance), allowance)


def _allowance(rules: Sequence[LimitRule], left: list[int]) -> Allowance:
    by_requests, left_requests, reset_requests, by_tokens, left_tokens, reset_tokens = left
    if not by_requests and not by_tokens:
        return UNLIMITED
    return Allowance(
        rules[by_requests - 1].limits.requests if by_requests else None,
        left_requests if by_requests else None,
        reset_requests if by_requests else None,
        rules[by_tokens - 1].limits.tokens if by_tokens else None,
        left_tokens if by_tokens else None,
        reset_tokens if by_tokens else None,
    )


def clamped(tokens: int) -> int:
    """A number of tokens, or a difference, that keeps sums exact."""
    return max(-_MAX, min(tokens, _MAX))
