"""What goes to Redis in one call, and what the answer means. Pure: rules, numbers and bytes, no sockets, no clock.

The layout is the one that scripts/acquire.lua describes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    """One request that waits for its decision; `keys` are the windows of its rules."""

    rules: Sequence[LimitRule]
    keys: Sequence[str]
    tokens: int
    answer: asyncio.Future[Reservation | Refusal]


@dataclass(slots=True)
class Settlement:
    """In window `key`: the correction of the tokens counted in `second` (of Redis's clock), and requests that have ended."""

    key: str
    second: int
    tokens: int
    ended: int = 1


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

    def windows(self, rules: Sequence[LimitRule]) -> tuple[str, ...]:
        return tuple([f"{self.prefix}:{rule.key}" for rule in rules])


class Batch:
    """Requests and settlements that travel together."""

    __slots__ = ("asks", "settled")

    def __init__(self, asks: list[Ask], settled: list[Settlement]) -> None:
        self.asks = asks
        self.settled = settled

    def packed(self, owners: str, owner: str) -> tuple[list[str], bytes]:
        """The script's KEYS and its argument."""
        keys = [owners]
        places: dict[str, int] = {}

        def place(key: str) -> int:
            found = places.get(key)
            if found is None:
                keys.append(key)
                found = places[key] = len(keys)
            return found

        settled: list[int] = []
        for entry in self.settled:
            settled += (place(entry.key), entry.second, entry.tokens, entry.ended)
        asked: list[int] = []
        for ask in self.asks:
            asked += (len(ask.rules), min(ask.tokens, _MAX))
            for rule, key in zip(ask.rules, ask.keys, strict=True):
                limits = rule.limits
                asked += (
                    place(key),
                    -1 if limits.requests is None else min(limits.requests, _MAX),
                    -1 if limits.tokens is None else min(limits.tokens, _MAX),
                    -1 if limits.parallel is None else min(limits.parallel, _MAX),
                )
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
