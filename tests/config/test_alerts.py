"""The file's words about alerts: what they become, what is refused, what is warned of, what stays hidden."""

from pathlib import Path

import pytest

from router.config.alert_settings import tenant_recipients
from router.config.compile import compile_snapshot
from router.config.snapshot import AlertSettings, SmtpSettings
from router.domain.alerts import Channel, Webhook
from tests.config.samples import DEMO, MINIMAL, ONE_ALIAS, loaded, only, problems

SECRET = "whsec_" + "A" * 32
FILE = (
    MINIMAL
    + f"""
health: {{alert_error_rate: 0.2, alert_p95: 30s}}
smtp: {{host: mail.example.com, username: router@example.com, password: canary-password}}
budgets:
  alerts:
    emails: [ops@example.com]
    cooldown: 10m
    webhooks: [{{url: "https://h.example/canary-url", secret: {SECRET}}}, {{url: "https://s.example/x", format: slack}}]
bootstrap:
  tenants: [{{name: demo}}]
  tenant_budgets:
    - {{tenant: demo, budget_usd: 1, alert_emails: [f@example.com], alert_webhooks: [{{url: "http://10.0.0.1/y"}}]}}
"""
)


def test_the_file_becomes_settings(tmp_path: Path) -> None:
    snapshot = compile_snapshot(loaded(tmp_path, FILE))
    hooks = (
        Webhook("https://h.example/canary-url", Channel.STANDARD, SECRET),
        Webhook("https://s.example/x", Channel.SLACK),
    )
    own = Webhook("http://10.0.0.1/y")
    mail = SmtpSettings("mail.example.com", 587, "router@example.com", "router@example.com", "canary-password", "starttls")
    assert snapshot.alerts == AlertSettings(True, ("ops@example.com",), hooks, 600.0, (*hooks, own), mail)
    assert (snapshot.health.alert_error_ppm, snapshot.health.alert_p95_us) == (200_000, 30_000_000)
    assert tenant_recipients(loaded(tmp_path, FILE).config, "demo").webhooks == (own,)


def test_no_secret_is_shown_and_the_log_knows_them_all(tmp_path: Path) -> None:
    found = loaded(tmp_path, FILE)
    snapshot = compile_snapshot(found)
    for shown in (snapshot.masked_yaml, repr(snapshot.alerts), repr(found.config)):
        for secret in ("canary", SECRET):
            assert secret not in shown
    assert {"https://h.example/canary-url", SECRET, "canary-password"} <= set(snapshot.secrets())


def test_without_any_of_it_nobody_is_told_and_nothing_is_measured(tmp_path: Path) -> None:
    snapshot = compile_snapshot(loaded(tmp_path, MINIMAL))
    assert snapshot.alerts == AlertSettings()
    assert (snapshot.health.alert_error_ppm, snapshot.health.alert_p95_us) == (None, None)


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("smtp: {host: h}\n", "smtp.from", "routerd@example.com"),
        ("smtp: {host: h, from: nobody}\n", "smtp.from", "routerd@example.com"),
        ("smtp: {host: h, from: a@b, tls: ssl}\n", "smtp.tls", "starttls"),
        ("health: {alert_error_rate: 20}\n", "health.alert_error_rate", "a fraction from 0 to 1"),
        ("health: {alert_p95: 0s}\n", "health.alert_p95", "above zero"),
        (
            "budgets: {alerts: {webhooks: [{url: 'https://h', secret: whsec_canary}]}}\n",
            "budgets.alerts.webhooks[0].secret",
            "24 to 64 bytes",
        ),
        (
            "budgets: {alerts: {webhooks: [{url: 'https://h', secret: canary}]}}\n",
            "budgets.alerts.webhooks[0].secret",
            "24 to 64 bytes",
        ),
        (
            "budgets: {alerts: {webhooks: [{url: 'https://h', format: telegram}]}}\n",
            "budgets.alerts.webhooks[0].format",
            "discord",
        ),
    ],
)
def test_a_mistake_is_one_located_error(tmp_path: Path, section: str, key: str, expected: str) -> None:
    problem = only(problems(tmp_path, DEMO + ONE_ALIAS + section))
    assert problem.key == key
    assert expected in f"{problem.expected} {problem.hint}", problem.render()
    assert "canary" not in problem.render()


@pytest.mark.parametrize(
    ("section", "warned"),
    [
        ("budgets: {alerts: {emails: [a@example.com]}}\n", "budgets.alerts.emails: no mail is sent: smtp.host is not set"),
        ("smtp: {host: h, from: a@b, tls: off, username: u}\n", "smtp.tls: name and password travel in the clear"),
    ],
)
def test_what_will_not_work_as_hoped_is_warned_of(tmp_path: Path, section: str, warned: str) -> None:
    assert any(warned in warning for warning in loaded(tmp_path, MINIMAL + section).warnings)


def test_mail_with_a_server_is_not_warned_of(tmp_path: Path) -> None:
    text = MINIMAL + "smtp: {host: h, from: a@b}\nbudgets: {alerts: {emails: [a@example.com]}}\n"
    assert not [w for w in loaded(tmp_path, text).warnings if "mail" in w]
