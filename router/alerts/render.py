"""Alerts as text for people and as bodies for webhooks. Pure; names in them are text and never markup of the receiver."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec

from router.domain.alerts import (
    Alert,
    BudgetExhausted,
    BudgetHolder,
    BudgetThreshold,
    Channel,
    ErrorRate,
    Latency,
    RaisedAlert,
    TargetDown,
    TargetUp,
    TestAlert,
    kind_of,
)
from router.domain.budgets import BudgetMode, BudgetScope
from router.domain.usage import usd_text

MAX_TEXT = 200
_GOOD, _BAD, _NEUTRAL = 0x2EB67D, 0xE01E5A, 0x808080  # what Discord paints beside a message
_MARKUP = re.compile(r"([\\*_~`|<>\[\]()#@:-])")


def title(alert: Alert) -> str:
    """One line: the subject of a mail, the heading of a message."""
    match alert:
        case BudgetThreshold(holder=holder, percent=percent):
            return f"Budget of {_who(holder)}: {percent} % spent"
        case BudgetExhausted(holder=holder):
            return f"Budget of {_who(holder)} is exhausted"
        case TargetDown(target=target):
            return f"Target {_text(target)} is down"
        case TargetUp(target=target):
            return f"Target {_text(target)} is up again"
        case ErrorRate(target=target, percent=percent):
            return f"Target {_text(target)} fails {percent:g} % of its requests"
        case Latency(target=target, p95_ms=p95_ms):
            return f"Target {_text(target)} is slow: p95 {p95_ms} ms"
        case TestAlert():
            return "Test of alerts"
        case _:
            assert_never(alert)


def facts(alert: Alert) -> list[tuple[str, str]]:
    """What a message lists below its title."""
    match alert:
        case BudgetThreshold():
            return _money(alert)
        case BudgetExhausted(mode=mode):
            what = "are refused until then" if mode is BudgetMode.HARD else "go on: it is a soft budget"
            return [*_money(alert), ("Requests", what)]
        case TargetDown(reason=reason):
            return [("Reason", _text(reason))]
        case TargetUp():
            return []
        case ErrorRate(percent=percent, bound=bound):
            return [("Failed", f"{percent:g} % of the last 5 minutes"), ("Bound", f"{bound:g} %")]
        case Latency(p95_ms=p95_ms, bound=bound):
            return [("95th percentile", f"{p95_ms} ms over the last 5 minutes"), ("Bound", f"{bound} ms")]
        case TestAlert():
            return [("Sent by", "routerd alerts test")]
        case _:
            assert_never(alert)


def mail_body(raised: RaisedAlert) -> str:
    lines = [f"{name}: {value}" for name, value in [*facts(raised.alert), ("Raised at", moment(raised.raised_at))]]
    return "\n".join([title(raised.alert), "", *lines, "", "-- ", "routerd", ""])


def webhook_body(channel: Channel, raised: RaisedAlert) -> str:
    """The JSON to post. Raises KeyError for mail, which is no webhook."""
    return msgspec.json.encode(_BODIES[channel](raised)).decode()


def moment(at: int) -> str:
    """Microseconds since the epoch as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _standard(raised: RaisedAlert) -> dict[str, Any]:
    """`type`, `timestamp` and `data`, as the Standard Webhooks specification recommends; money is decimal text."""
    alert = raised.alert
    fields: dict[str, Any] = msgspec.to_builtins(alert)
    fields.pop("type")
    for name in ("limit", "spent"):
        if isinstance(alert, BudgetThreshold | BudgetExhausted):
            fields[f"{name}_usd"] = usd_text(fields.pop(name))
    if isinstance(alert, BudgetThreshold | BudgetExhausted):
        fields["resets_at"] = None if alert.resets_at is None else moment(alert.resets_at)
    data = {"summary": title(alert), **fields}
    return {"type": kind_of(alert), "timestamp": moment(raised.raised_at), "data": data}


def _slack(raised: RaisedAlert) -> dict[str, Any]:
    """`text` is what notifications show; the header block is plain text, the fields are mrkdwn with `& < >` escaped."""
    heading = title(raised.alert)
    lines = [*facts(raised.alert), ("Raised at", moment(raised.raised_at))]
    fields = [{"type": "mrkdwn", "text": f"*{name}*\n{_for_slack(value)}"} for name, value in lines]
    header = {"type": "header", "text": {"type": "plain_text", "text": _cut(heading, 150), "emoji": False}}
    return {"text": _for_slack(heading), "blocks": [header, {"type": "section", "fields": fields}]}


def _teams(raised: RaisedAlert) -> dict[str, Any]:
    """An Adaptive Card as the Workflows webhook takes it. TextRuns, because TextBlocks and FactSets read Markdown."""
    lines = [*facts(raised.alert), ("Raised at", moment(raised.raised_at))]
    heading = {"type": "TextRun", "text": title(raised.alert), "size": "Large", "weight": "Bolder"}
    rows = [[{"type": "TextRun", "text": f"{n}: ", "weight": "Bolder"}, {"type": "TextRun", "text": v}] for n, v in lines]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": inlines} for inlines in ([heading], *rows)],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _discord(raised: RaisedAlert) -> dict[str, Any]:
    """One embed; nobody can be mentioned, whatever a name contains."""
    alert = raised.alert
    colour = _GOOD if isinstance(alert, TargetUp) else _NEUTRAL if isinstance(alert, TestAlert) else _BAD
    embed = {
        "title": _cut(_for_discord(title(alert)), 256),
        "color": colour,
        "timestamp": moment(raised.raised_at),
        "fields": [{"name": n, "value": _cut(_for_discord(v), 1024), "inline": True} for n, v in facts(alert)],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


_BODIES: dict[Channel, Callable[[RaisedAlert], dict[str, Any]]] = {
    Channel.STANDARD: _standard,
    Channel.SLACK: _slack,
    Channel.TEAMS: _teams,
    Channel.DISCORD: _discord,
}


def _who(holder: BudgetHolder) -> str:
    name = f"{holder.scope.value} {_text(holder.name)}"
    is_part = holder.tenant and holder.scope is not BudgetScope.TENANT
    return f"{name} of tenant {_text(holder.tenant)}" if is_part else name


def _money(alert: BudgetThreshold | BudgetExhausted) -> list[tuple[str, str]]:
    resets = "never" if alert.resets_at is None else moment(alert.resets_at)
    return [("Limit", f"{usd_text(alert.limit)} USD"), ("Spent", f"{usd_text(alert.spent)} USD"), ("Resets at", resets)]


def _text(name: str) -> str:
    """A name on one line, printable and not too long: it stands in headers of mail too."""
    return _cut(" ".join("".join(c if c.isprintable() else " " for c in name).split()), MAX_TEXT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_discord(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
