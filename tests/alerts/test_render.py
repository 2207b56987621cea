"""Every alert has a body for every channel in its documented shape, and a name in it is a name and nothing else."""

from typing import Any

import msgspec
import pytest

from router.alerts.render import facts, mail_body, title, webhook_body
from router.domain.alerts import Alert, BudgetHolder, BudgetThreshold, Channel, TargetDown, TargetUp, kind_of
from router.domain.budgets import BudgetScope
from router.domain.usage import NanoUSD
from tests.alerts.samples import ALERTS, THRESHOLD, raised

WEBHOOKS = [channel for channel in Channel if channel is not Channel.EMAIL]
NASTY = "<!channel> @everyone [pay](http://evil.example) *b* & \r\nBcc: x\x1b[31m"


def body(channel: Channel, alert: Alert) -> Any:
    return msgspec.json.decode(webhook_body(channel, raised(alert)))


@pytest.mark.parametrize("alert", ALERTS, ids=kind_of)
def test_every_alert_has_a_text_and_a_body_everywhere(alert: Alert) -> None:
    assert title(alert)
    assert title(alert) in mail_body(raised(alert))
    for channel in WEBHOOKS:
        assert 20 < len(webhook_body(channel, raised(alert)).encode()) < 20_000


def test_the_standard_body_has_type_timestamp_and_data() -> None:
    assert body(Channel.STANDARD, THRESHOLD) == {
        "type": "budget.threshold",
        "timestamp": "2025-06-15T15:06:40Z",
        "data": {
            "summary": "Budget of tenant acme: 80 % spent",
            "holder": {"scope": "tenant", "subject": "t1", "name": "acme", "tenant_id": "t1", "tenant": "acme"},
            "limit_usd": "150.0",
            "spent_usd": "120.0",
            "percent": 80,
            "resets_at": "2025-06-15T16:06:40Z",
        },
    }


def test_slack_gets_a_text_a_plain_header_and_fields() -> None:
    found = body(Channel.SLACK, THRESHOLD)
    assert found["text"] == "Budget of tenant acme: 80 % spent"
    header, section = found["blocks"]
    assert header == {"type": "header", "text": {"type": "plain_text", "text": found["text"], "emoji": False}}
    assert section["type"] == "section"
    assert {"type": "mrkdwn", "text": "*Limit*\n150.0 USD"} in section["fields"]
    assert len(section["fields"]) <= 10


def test_teams_gets_a_message_with_one_adaptive_card() -> None:
    found = body(Channel.TEAMS, THRESHOLD)
    assert found["type"] == "message"
    (attachment,) = found["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    card = attachment["content"]
    assert (card["type"], card["version"], card["$schema"]) == (
        "AdaptiveCard",
        "1.4",
        "http://adaptivecards.io/schemas/adaptive-card.json",
    )
    texts = ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]
    assert texts[:2] == ["Budget of tenant acme: 80 % spent", "Limit: 150.0 USD"]


def test_discord_gets_one_embed_that_mentions_nobody() -> None:
    found = body(Channel.DISCORD, TargetUp("a/b"))
    assert found["allowed_mentions"] == {"parse": []}
    (embed,) = found["embeds"]
    assert (embed["title"], embed["timestamp"]) == ("Target a/b is up again", "2025-06-15T15:06:40Z")
    assert embed["color"] != body(Channel.DISCORD, TargetDown("a/b", "x"))["embeds"][0]["color"]


def test_a_name_is_no_markup_of_slack() -> None:
    found = body(Channel.SLACK, TargetDown("a/b", NASTY))
    assert "<" not in msgspec.json.encode(found).decode()
    assert "&lt;!channel&gt;" in found["blocks"][1]["fields"][0]["text"]


def test_a_name_is_no_markup_of_discord() -> None:
    (embed,) = body(Channel.DISCORD, TargetDown("a/b", NASTY))["embeds"]
    value = embed["fields"][0]["value"]
    assert "\\[pay\\]\\(http" in value
    assert "\\@everyone" in value


def test_a_name_is_in_no_block_of_teams_that_reads_markdown() -> None:
    card = body(Channel.TEAMS, TargetDown(NASTY, NASTY))["attachments"][0]["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}


def test_a_name_cannot_break_a_line_or_move_a_cursor() -> None:
    alert = TargetDown(NASTY, NASTY)
    for text in (title(alert), *(value for _, value in facts(alert))):
        assert text.isprintable()


def test_a_long_name_keeps_every_limit() -> None:
    holder = BudgetHolder(BudgetScope.KEY, "k", "k" * 5000, "t", "t" * 5000)
    alert = BudgetThreshold(holder, NanoUSD(1), NanoUSD(1), 80)
    assert len(body(Channel.SLACK, alert)["blocks"][0]["text"]["text"]) <= 150
    assert len(body(Channel.DISCORD, alert)["embeds"][0]["title"]) <= 256
    assert len(title(alert)) < 500


def test_a_key_is_named_with_its_tenant() -> None:
    assert title(ALERTS[1]) == "Budget of key ci of tenant acme is exhausted"
    assert ("Resets at", "never") in facts(ALERTS[1])
