"""How `routerd explain` shows a plan: as text in 80 columns, and as one JSON document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.cli.output import Column, Grid, Screen
from router.cli.wording import (
    duration,
    limits_document,
    limits_text,
    per_million,
    price_document,
    timeouts_document,
)
from router.config.snapshot import Snapshot
from router.domain.limits import LimitRule, LimitScope
from router.domain.requests import Api
from router.domain.routes import (
    Alias,
    Candidate,
    Exclusion,
    FallbackReason,
    HealthView,
    Plan,
    Timeouts,
    first_choice_chances,
)

_WHOSE = {
    LimitScope.KEY: "each key",
    LimitScope.TENANT: "each tenant",
    LimitScope.MODEL: "this alias",
    LimitScope.ADDRESS: "each address",
}
_COLUMNS = (
    Column("", right=True),
    Column("chance", right=True),
    Column("provider"),
    Column("model sent"),
    Column("USD/M in / out", right=True),
    Column("state"),
)


@dataclass(frozen=True, slots=True)
class Explained:
    """A plan with what it was made from. `caller` is the key's name, "" for nobody in particular."""

    snapshot: Snapshot
    plan: Plan
    api: Api
    view: HealthView
    affinity: str
    draw: float
    rules: tuple[LimitRule, ...]
    caller: str
    asked_by: str
    health: str
    report: Mapping[str, Any]
    notes: tuple[str, ...]


def chances_of(explained: Explained) -> dict[str, float]:
    """The chance of each target to be tried first; with an affinity one target is certain."""
    plan = explained.plan
    targets = [candidate.target for candidate in plan.candidates]
    if explained.affinity and targets:
        return dict.fromkeys((t.id for t in targets), 0.0) | {targets[0].id: 1.0}
    in_file_order = [target for target in plan.alias.targets if target in targets]
    return first_choice_chances(plan.alias, in_file_order, explained.view)


def show_explanation(out: Screen, explained: Explained) -> None:
    plan, alias = explained.plan, explained.plan.alias
    out.line(alias.name if alias.name == plan.requested else f"{plan.requested} by {alias.name}", "bold")
    out.line()
    out.facts(_facts(explained))
    out.line()
    if plan.candidates:
        chances = chances_of(explained)
        out.grid(Grid(_COLUMNS, [_row(i, c, chances, explained) for i, c in enumerate(plan.candidates, start=1)]))
    else:
        out.line("None of its own targets can be tried.", "yellow")
    _show_fallbacks(out, plan)
    if plan.excluded:
        out.heading("left out")
        out.listed([f"{e.target.id}: {_why_out(e, explained)}" for e in plan.excluded], "yellow")
    out.heading("timers")
    out.listed(_timer_lines(explained))
    out.heading("limits")
    out.listed([f"{_WHOSE[rule.scope]}: {limits_text(rule.limits)}" for rule in explained.rules] or ["none"])
    if explained.notes:
        out.heading("note")
        out.listed(explained.notes, "yellow")


_INSTEAD = {
    FallbackReason.CONTEXT_WINDOW: "asked instead where the request is too long",
    FallbackReason.CONTENT_POLICY: "asked instead where a content policy refuses the request",
    FallbackReason.BUDGET: "asked instead where a hard budget has no room",
}


def _show_fallbacks(out: Screen, plan: Plan) -> None:
    ways = {
        reason: f"{reason.value}: {' > '.join(map(_fallback_text, candidates)) or 'nothing that can be tried'}"
        for reason, candidates in plan.typed.items()
    }
    instead = {heading: way for reason, heading in _INSTEAD.items() if (way := ways.pop(reason, None)) is not None}
    if ways:
        out.heading("fallbacks, tried when every target above has failed")
        out.listed(list(ways.values()))
    for heading, way in instead.items():
        out.heading(heading)
        out.listed([way])


def _facts(explained: Explained) -> list[tuple[str, str]]:
    alias = explained.plan.alias
    window = f"{alias.context_window} tokens" if alias.context_window else "unknown"
    return [
        ("asked by", explained.asked_by + (f", as the key {explained.caller}" if explained.caller else "")),
        ("type", f"{alias.kind.value}, called by {explained.api.value}"),
        ("strategy", f"{alias.strategy.value}, at most {alias.max_attempts} attempts"),
        ("affinity", alias.affinity.value),
        ("context", window),
        ("health", explained.health),
        ("draw", f"{explained.draw:g} (--draw shows another order)"),
    ]


def _row(number: int, candidate: Candidate, chances: Mapping[str, float], explained: Explained) -> tuple[str, ...]:
    target = candidate.target
    price = f"{per_million(target.price.input)} / {per_million(target.price.output)}" if target.price else "unknown"
    chance = f"{chances.get(target.id, 0.0):.1%}"
    sent = target.deployment or candidate.upstream_model
    return str(number), chance, target.provider, sent, price, _state(candidate, explained)


def _state(candidate: Candidate, explained: Explained) -> str:
    target = candidate.target.id
    forced = explained.snapshot.force_failover
    if candidate.target.provider in forced or candidate.alias.name in forced:
        return "forced to fail"
    if target in explained.view.trial:
        return "on trial"
    if target in explained.view.shaky:
        return "ill, but the last"
    seen = explained.report.get(target, {})
    return f"failing ({seen['consecutive_failures']})" if seen.get("consecutive_failures") else "well"


def _fallback_text(candidate: Candidate) -> str:
    return f"{candidate.alias.name} ({candidate.target.id})"


def _why_out(exclusion: Exclusion, explained: Explained) -> str:
    target, reason = exclusion.target, exclusion.reason
    seen = explained.report.get(target.id, {})
    if reason == "ejected" and seen:
        wait = duration(round(float(seen["retry_in_s"])))
        return f"ejected, tried again in {wait} ({seen['recent_failures']} of its last {seen['recent_requests']} failed)"
    return reason


def _timer_lines(explained: Explained) -> list[str]:
    """One line for each set of timers, with the providers that have it unless all have the same."""
    owners: dict[Timeouts, list[str]] = {}
    for candidate in explained.plan.candidates:
        owners.setdefault(_timeouts(candidate, explained), []).append(candidate.target.provider)
    lines = [
        f"connect {duration(t.connect)}, first byte {duration(t.first_byte)}, idle {duration(t.idle)}, "
        f"total {duration(t.total)}"
        for t in owners
    ]
    if len(owners) > 1:
        names = (", ".join(dict.fromkeys(providers)) for providers in owners.values())
        lines = [f"{name}: {line}" for name, line in zip(names, lines, strict=True)]
    deadline = _deadline(explained.plan.alias, explained.snapshot)
    return [*lines, f"the whole request: {duration(deadline)}"]


def _timeouts(candidate: Candidate, explained: Explained) -> Timeouts:
    return candidate.alias.timeouts or explained.snapshot.providers[candidate.target.provider].timeouts


def _deadline(alias: Alias, snapshot: Snapshot) -> float:
    return alias.timeouts.total if alias.timeouts else snapshot.server.timeouts.total


def explanation_document(explained: Explained) -> dict[str, object]:
    plan, alias = explained.plan, explained.plan.alias
    chances = chances_of(explained)
    return {
        "alias": alias.name,
        "requested": plan.requested,
        "asked_by": explained.asked_by,
        "key": explained.caller or None,
        "type": alias.kind.value,
        "api": explained.api.value,
        "strategy": alias.strategy.value,
        "affinity": alias.affinity.value,
        "max_attempts": alias.max_attempts,
        "context_window": alias.context_window,
        "draw": explained.draw,
        "deadline_s": _deadline(alias, explained.snapshot),
        "targets": [
            {**document, "chance_first": round(chances.get(c.target.id, 0.0), 6)}
            for c, document in zip(plan.candidates, _candidates(plan.candidates, explained), strict=True)
        ],
        "fallbacks": {reason.value: _candidates(found, explained) for reason, found in plan.typed.items()},
        "left_out": [{"target": e.target.id, "reason": _why_out(e, explained)} for e in plan.excluded],
        "limits": [
            {"scope": rule.scope.value, "subject": rule.subject or None, **limits_document(rule.limits)}
            for rule in explained.rules
        ],
        "health": explained.health,
        "notes": list(explained.notes),
    }


def _candidates(candidates: Sequence[Candidate], explained: Explained) -> list[dict[str, object]]:
    return [
        {
            "alias": candidate.alias.name,
            "target": candidate.target.id,
            "provider": candidate.target.provider,
            "upstream_model": candidate.upstream_model,
            "via": candidate.via,
            "weight": candidate.target.weight,
            "priority": candidate.target.priority,
            "state": _state(candidate, explained),
            "price_usd_per_million": price_document(candidate.target.price),
            "timeouts_s": timeouts_document(_timeouts(candidate, explained)),
        }
        for candidate in candidates
    ]
