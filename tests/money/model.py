"""What the books must say, from what the providers saw: dictionaries and integers, knowing nothing of how it is done."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.domain.budgets import Budget, BudgetMode, Period
from router.domain.requests import ModelRequest
from router.domain.usage import Price, Usage
from tests.money.provider import FREE, Sent

UNRECORDED_S = 0.1
"""So long an end may be in memory alone."""

Row = Mapping[str, Any]


Counted = tuple[Budget, Period]


class Lifetime(Protocol):
    died_at: float | None


@dataclass(slots=True)
class Case:
    """One request: what was asked under which budgets, and how it went for the caller. Times are the loop's.

    An attempt counts against `budgets`, and against the one of the alias it was made for.
    """

    id: str
    request: ModelRequest
    budgets: Sequence[Counted]
    of_alias: Mapping[str, Counted]
    prices: Mapping[str, Price]
    process: "Lifetime"
    sent: list[Sent] = field(default_factory=list)
    has_left: bool = False
    refusal: str = ""
    ended_at: float | None = None

    @property
    def was_killed(self) -> bool:
        """Whether its process died before its end was certainly on disk."""
        died_at = self.process.died_at
        return died_at is not None and (self.ended_at is None or died_at - self.ended_at < UNRECORDED_S)

    def counted(self, row: Row) -> Sequence[Counted]:
        mine = self.of_alias.get(row["alias"])
        return self.budgets if mine is None else [*self.budgets, mine]

    def is_hard(self, row: Row) -> bool:
        return any(budget.terms.mode is BudgetMode.HARD for budget, _ in self.counted(row))

    @property
    def estimate(self) -> int:
        return max(1, len(self.request.body) // 4)


def cost_of(price: Price, used: Usage) -> int:
    cached, written, thought = used.cached_input_tokens, used.cache_write_tokens, used.reasoning_tokens
    parts = (
        (used.input_tokens - cached - written, price.input),
        (cached, price.cached_input),
        (written, price.cache_write),
        (used.output_tokens - thought, price.output),
        (thought, price.reasoning),
    )
    return -(-sum(count * (each or 0) for count, each in parts) // 10**6)


def bound_of(case: Case, price: Price) -> int:
    """The most an honest attempt can cost."""
    dearest_in = max(price.input, price.cached_input or 0, price.cache_write or 0)
    dearest_out = max(price.output, price.reasoning or 0)
    output = (case.request.output_cap or 0) * case.request.answers
    return -(-((len(case.request.body) + 64) * dearest_in + output * dearest_out) // 10**6)


def breaches_of(case: Case, rows: Sequence[Row]) -> list[str]:
    """What is wrong with a request's attempts in the ledger."""
    if case.refusal and not case.sent and not case.was_killed and rows:
        return [] if all(row["cost_nano"] == 0 for row in rows) else [f"refused ({case.refusal}) and charged"]
    found = {row["attempt"]: row for row in rows}
    wrong = [f"attempt {sent.number} ({sent.kind}) is missing" for sent in case.sent if sent.number not in found]
    for number, row in found.items():
        sent = next((sent for sent in case.sent if sent.number == number), None)
        low, high = cost_range(case, sent, row)
        if not low <= row["cost_nano"] <= high:
            kind = sent.kind if sent else "never sent"
            wrong.append(f"attempt {number} ({kind}, {row['outcome']}) cost {row['cost_nano']}, not {low} to {high}")
        if case.is_hard(row) and sent is not None and row["held_nano"] > bound_of(case, case.prices[sent.host]):
            wrong.append(f"attempt {number} held {row['held_nano']}, more than it can cost")
        if case.is_hard(row) and row["cost_nano"] > row["held_nano"] and (sent is None or sent.kind != "overrun"):
            wrong.append(f"attempt {number} cost {row['cost_nano']}, above the {row['held_nano']} that were held")
    return wrong


def cost_range(case: Case, sent: Sent | None, row: Row) -> tuple[int, int]:
    """The least and the most an attempt may have cost."""
    if row["outcome"] == "recovered":
        if not case.was_killed:
            return 1, 0
        if not case.is_hard(row):
            return 1, 10**12
        return (0 if case.request.stream else row["held_nano"]), row["held_nano"]
    if sent is None:
        return (0, 0) if case.has_left or case.was_killed or case.refusal else (1, 0)
    if sent.kind in FREE and row["outcome"] != "cancelled":
        return 0, 0
    price = case.prices[sent.host]
    estimated = [cost_of(price, Usage(case.estimate, frames)) for frames in (0, sent.frames)]
    if sent.usage is not None and not (case.has_left or case.was_killed):
        exact = cost_of(price, sent.usage)
        return exact, exact
    if sent.usage is not None:
        estimated.append(cost_of(price, sent.usage))
    if sent.kind == "silent" and not sent.stream:
        estimated.append(cost_of(price, Usage(case.estimate, 100)))
    return min(estimated), max(estimated)


def posted_by(cases: Mapping[str, Case], attempts: Mapping[str, Sequence[Row]]) -> Counter[tuple[str, str]]:
    """What each budget's row must have: the cost of every attempt of every request that counts against it."""
    posted: Counter[tuple[str, str]] = Counter()
    for name, rows in attempts.items():
        for row in rows:
            for budget, period in cases[name].counted(row):
                posted[budget.id, period.key] += row["cost_nano"]
    return posted
