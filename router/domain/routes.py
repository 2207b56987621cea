"""Aliases, targets and plans; the order in which targets are tried is a pure function of (alias, health, draw)."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate
from math import log

import msgspec

from router.domain.budgets import Budget
from router.domain.limits import Limits
from router.domain.requests import INBOUND, Api, Kind
from router.domain.usage import NanoUSD, Price


class Strategy(StrEnum):
    WEIGHTED = "weighted"
    PRIORITY = "priority"
    LEAST_BUSY = "least_busy"
    LATENCY = "latency"
    COST = "cost"


WATCHING = frozenset({Strategy.LEAST_BUSY, Strategy.LATENCY})
"""Those whose order changes from one request to the next while all is well."""


class Affinity(StrEnum):
    NONE = "none"
    KEY = "key"
    USER = "user"
    CONVERSATION = "conversation"


class FallbackReason(StrEnum):
    """Why another alias is tried; `default` serves every retryable failure."""

    DEFAULT = "default"
    CONTEXT_WINDOW = "on_context_window"
    CONTENT_POLICY = "on_content_policy"
    RATE_LIMITED = "on_rate_limited"
    BUDGET = "on_budget"


class HealthMode(StrEnum):
    """How a target is probed when it is not asked anyway: `models` lists the provider's models, which is free."""

    MODELS = "models"
    COMPLETION = "completion"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_byte` holds for streams; a JSON call waits until `total`. `idle` is between frames."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 300.0
    total: float = 900.0


@dataclass(frozen=True, slots=True)
class Credential:
    """One provider key. `label` names it in logs and ledger (never the key itself); `weight` shares the load."""

    label: str
    key: str = field(repr=False)
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider as configured, secrets resolved. `options` is what only its type understands (see provider_types).

    `ca_digest` is that of the content of `ca_file`. `proxy` is the URL of an HTTP proxy, "" for none. `trusted_host` False:
    its address is nobody's who may name private ones. `sends_bearer`: its keys go as bearer tokens, whatever its type does.
    `apis` it speaks itself, `translates` are those that it is asked in the words of one of them. `max_batch`: how many
    inputs one of its calls may hold, None for what its documentation says. `omitted` names what is left out of a translated
    request rather than refused.
    """

    name: str
    type: str
    base_url: str
    credentials: tuple[Credential, ...] = ()
    api_version: str = ""
    sends_bearer: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: str = ""
    ca_digest: str = ""
    proxy: str = field(default="", repr=False)
    trusted_host: bool = True
    stream_usage: bool = True
    bills_on_cancel: bool = False
    max_batch: int | None = None
    omitted: frozenset[str] = frozenset()
    apis: frozenset[Api] = INBOUND
    translates: frozenset[Api] = frozenset()
    timeouts: Timeouts = Timeouts()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One place an alias can be answered. `id` is `provider/model` or `provider/deployment`: health is kept per id.

    `model` is what is sent upstream; "" in a wildcard alias passes the rest of the requested name. `price` None is
    unknown. `priority`: lower first. `provider_type` is that of `provider`.
    """

    id: str
    provider: str
    model: str
    deployment: str = ""
    weight: int = 1
    priority: int = 0
    price: Price | None = None
    provider_type: str = ""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name callers use, and where it leads. `fallbacks` names other aliases; the graph is acyclic (checked at load).

    `timeouts` None means the provider's own. `is_window_listed`: `context_window` is the least of what the price table lists
    for the targets, and not the file's word. `max_request` is what one request is held at under a hard budget, where its
    bytes do not show what it can cost.
    """

    name: str
    kind: Kind
    targets: tuple[Target, ...]
    strategy: Strategy = Strategy.WEIGHTED
    affinity: Affinity = Affinity.NONE
    fallbacks: Mapping[FallbackReason, tuple[str, ...]] = field(default_factory=dict)
    timeouts: Timeouts | None = None
    max_attempts: int = 3
    limits: Limits = Limits()
    context_window: int | None = None
    is_window_listed: bool = False
    max_output_tokens: int | None = None
    modalities: tuple[str, ...] = ()
    price: Price | None = None
    max_request: NanoUSD | None = None
    budget: Budget | None = None

    @property
    def is_wildcard(self) -> bool:
        return self.name.endswith("*")


class HealthView(msgspec.Struct, frozen=True):
    """What the router believes about targets at one moment, by target id.

    `ejected` are not tried; `trial` are half-open and may be tried by this one request; `shaky` are ill but kept because
    nothing else is left: tried first time, never retried. `busy` and `latency_ms` are for strategies that go by them.
    """

    ejected: frozenset[str] = frozenset()
    trial: frozenset[str] = frozenset()
    shaky: frozenset[str] = frozenset()
    busy: Mapping[str, int] = {}
    latency_ms: Mapping[str, float] = {}

    @property
    def is_well(self) -> bool:
        """Whether nobody is left out, or comes first, for its health."""
        return not (self.ejected or self.trial or self.shaky)


ALL_WELL = HealthView()


class Candidate(msgspec.Struct, frozen=True):
    """A target in a plan. `alias` owns the target; `upstream_model` is the name to send; `via` says how it came in."""

    target: Target
    alias: Alias
    upstream_model: str
    via: str


class Exclusion(msgspec.Struct, frozen=True):
    """A target the plan leaves out, and why; for `explain`."""

    target: Target
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """Targets in the order they will be tried; `typed` holds what is tried instead for a special reason."""

    alias: Alias
    requested: str
    candidates: tuple[Candidate, ...]
    typed: Mapping[FallbackReason, tuple[Candidate, ...]]
    excluded: tuple[Exclusion, ...]

    @property
    def first(self) -> Candidate | None:
        """Whom to ask first; None if there is nobody."""
        found = self.candidates or self.typed.get(FallbackReason.DEFAULT)
        return found[0] if found else None


def order_targets(
    alias: Alias, targets: Sequence[Target], health: HealthView, draw: float, affinity_key: str
) -> list[Target]:
    """All `targets` in the order to try them. A half-open target goes first: this request is its trial."""
    if len(targets) == 1:
        return list(targets)
    if affinity_key:
        ordered = sorted(targets, key=lambda t: _rendezvous(t, affinity_key))
    else:
        ordered = _by_strategy(alias.strategy, targets, health, draw)
    if health.trial:
        ordered.sort(key=lambda t: t.id not in health.trial)
    return ordered


class Dice(msgspec.Struct, frozen=True):
    """Who is first of some targets, by the draw alone: the places of those that can be, and the sums of their weights up to
    each."""

    places: tuple[int, ...]
    sums: tuple[int, ...]

    def throw(self, draw: float) -> int:
        """The place of the one that `order_targets` puts first."""
        sums = self.sums
        return self.places[bisect_right(sums, draw * sums[-1], hi=len(sums) - 1)]


def dice_of(strategy: Strategy, targets: Sequence[Target], health: HealthView) -> Dice:
    """The dice for at least one target, without an affinity. Those left out for their health are not among them."""
    ranks = [*map(_ranking(strategy, health), targets)]
    best = min(ranks)
    tied = [place for place, rank in enumerate(ranks) if rank == best]
    able = [place for place in tied if targets[place].weight > 0]
    if strategy is Strategy.PRIORITY or not able:
        able = tied[:1]
    return Dice(tuple(able), tuple(accumulate([max(targets[place].weight, 1) for place in able])))


def _by_strategy(strategy: Strategy, targets: Sequence[Target], health: HealthView, draw: float) -> list[Target]:
    """Rank by rank; among equals drawn by weight, with `priority` in the order of the file."""
    rank, ranks = _ranking(strategy, health), dict[float, list[Target]]()
    for target in targets:
        ranks.setdefault(rank(target), []).append(target)
    ordered: list[Target] = []
    for _, equals in sorted(ranks.items()):
        if strategy is Strategy.PRIORITY:
            ordered += equals
        else:
            drawn, draw = weighted_order(equals, draw)
            ordered += drawn
    return ordered


def _ranking(strategy: Strategy, health: HealthView) -> Callable[[Target], float]:
    if strategy is Strategy.LEAST_BUSY:
        return lambda t: health.busy.get(t.id, 0) / max(t.weight, 1)
    if strategy is Strategy.LATENCY:
        return lambda t: health.latency_ms.get(t.id, 0.0)
    return _price_rank if strategy is Strategy.COST else lambda t: t.priority


def weighted_order(targets: Sequence[Target], draw: float) -> tuple[list[Target], float]:
    """Draw without replacement, each time with chance weight / sum of weights, from one number in [0, 1).

    What is left of the number after a choice is again uniform on the chosen part, so it is stretched and used for the
    next choice; what is left behind the last is the second that is returned. Targets of weight 0 come last, in file order.
    """
    rest = [t for t in targets if t.weight > 0]
    idle = [t for t in targets if t.weight <= 0]
    ordered: list[Target] = []
    total = sum(t.weight for t in rest)
    is_even = bool(rest) and total == len(rest) * rest[0].weight == len(rest) * max(t.weight for t in rest)
    while len(rest) > 1:
        point, index = draw * total, 0
        if is_even:
            index = min(int(point // rest[0].weight), len(rest) - 1)
            point -= index * rest[0].weight
        else:
            while index < len(rest) - 1 and point >= rest[index].weight:
                point -= rest[index].weight
                index += 1
        chosen = rest.pop(index)
        total -= chosen.weight
        draw = min(max(point / chosen.weight, 0.0), 1.0 - 2**-53)
        ordered.append(chosen)
    return ordered + rest + idle, draw


def first_choice_chances(alias: Alias, targets: Sequence[Target], health: HealthView) -> dict[str, float]:
    """The chance of each target id to be tried first, over all draws: what `explain` prints."""
    chances = dict.fromkeys((t.id for t in targets), 0.0)
    pool = [t for t in targets if t.id in health.trial] or targets
    if pool:
        dice, below = dice_of(alias.strategy, pool, health), 0
        for place, up_to in zip(dice.places, dice.sums, strict=True):
            chances[pool[place].id] += (up_to - below) / dice.sums[-1]
            below = up_to
    return chances


def _price_rank(target: Target) -> int:
    """Cheapest first at a mix of three input tokens to one output token; unknown prices last."""
    return 2**62 if target.price is None else 3 * target.price.input + target.price.output


def _rendezvous(target: Target, key: str) -> float:
    """Weighted rendezvous hashing: a key keeps its target while that target stands, whatever else comes or goes."""
    digest = blake2b(f"{key}\0{target.id}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -log(uniform) / max(target.weight, 1e-9)
