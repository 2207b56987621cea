"""`routerd alerts`: whether those who should be told of trouble can be reached."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from router.alerts.courier import Courier
from router.alerts.signature import shown_secret
from router.cli.complaint import FAILED, Complaint, WrongInput
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import Column, Grid, print_json, screen
from router.config.alert_settings import alert_settings, tenant_recipients
from router.config.load import Loaded
from router.config.problems import did_you_mean, one_of
from router.config.secrets import Purpose, SecretUnavailable, derive, server_secret
from router.config.snapshot import AlertSettings
from router.domain.alerts import Channel, DeliveryFailed, Draft, Letter, RaisedAlert, Recipients, TestAlert
from router.system import SystemClock, SystemIds

_COLUMNS = (Column("recipient"), Column("channel", keep=True), Column("result"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one letter; `failure` "" is delivered. `secret` signs it: shown where the file has none."""

    draft: Draft
    failure: str
    took_ms: int
    secret: str = ""


@click.group()
def alerts() -> None:
    """Those who are told of trouble: budgets, targets that are down, failing or slow."""


@alerts.command("test")
@config_option
@click.option("--tenant", metavar="NAME", help="Those the file names for this tenant's budgets, too.")
@json_option
def send_test(*, config: Path | None, tenant: str | None, as_json: bool) -> int:
    """Send a test alert to every recipient now, and show the secrets that webhooks are signed with."""
    loaded = open_config(config)
    own = _own(loaded, tenant)
    settings = alert_settings(loaded.config)
    if not (settings.emails or settings.webhooks or own.emails or own.webhooks):
        hint = "Name them in budgets.alerts.emails or budgets.alerts.webhooks; `--tenant NAME` adds a tenant's own."
        raise WrongInput("the file names nobody to tell", hint=hint, code="no_recipients")
    done = run(_send_all(loaded, settings, own))
    if as_json:
        print_json({"deliveries": [_document(each) for each in done]})
    else:
        _show(done, settings, own)
    return FAILED if any(each.failure for each in done) or _has_lost_mail(settings, own) else 0


def _own(loaded: Loaded, tenant: str | None) -> Recipients:
    if tenant is None:
        return Recipients()
    names = [row.tenant for row in loaded.config.bootstrap.tenant_budgets]
    if tenant not in names:
        hint = did_you_mean(tenant, names) or (f"It names {one_of(names)}." if names else "")
        raise WrongInput(f"bootstrap.tenant_budgets names no tenant {tenant!r}", hint=hint, code="tenant_not_found")
    return tenant_recipients(loaded.config, tenant)


async def _send_all(loaded: Loaded, settings: AlertSettings, own: Recipients) -> list[Delivery]:
    try:
        key = derive(server_secret(loaded.config), Purpose.WEBHOOKS)
    except SecretUnavailable as error:
        raise Complaint(str(error), code="secret_unavailable") from error
    clock, ids = SystemClock(), SystemIds()
    courier = Courier(lambda: settings, key, clock)
    secrets = _secrets(courier, settings, own)
    raised = RaisedAlert(ids.new(), TestAlert(), clock.now_us())
    try:
        done = []
        for draft in courier.drafts(raised, own):
            letter = Letter(ids.new(), draft, "", raised.raised_at, attempts=0, due_at=raised.raised_at)
            failure, began = "", time.monotonic()
            try:
                await courier.send(letter, own)
            except DeliveryFailed as error:
                failure = error.reason
            took_ms = round((time.monotonic() - began) * 1000)
            done.append(Delivery(draft, failure, took_ms, secrets.get(draft.recipient, "")))
        return done
    finally:
        await courier.close()


def _secrets(courier: Courier, settings: AlertSettings, own: Recipients) -> dict[str, str]:
    """Derived secrets by reference. One that the file gives is known to its writer and not shown again."""
    hooks = [hook for hook in (*settings.webhooks, *own.webhooks) if hook.channel is Channel.STANDARD]
    return {courier.reference(h.url): shown_secret(courier.signing_key(h.url)) for h in hooks if not h.secret}


def _has_lost_mail(settings: AlertSettings, own: Recipients) -> bool:
    return settings.smtp is None and bool(settings.emails or own.emails)


def _show(done: Sequence[Delivery], settings: AlertSettings, own: Recipients) -> None:
    out = screen()
    rows = [(d.draft.recipient, d.draft.channel.value, d.failure or f"delivered in {d.took_ms} ms") for d in done]
    if rows:
        out.grid(Grid(_COLUMNS, rows))
    if _has_lost_mail(settings, own):
        out.line("No mail is sent: smtp.host is not set.", "yellow")
    secrets = [(d.draft.recipient, d.secret) for d in done if d.secret]
    if secrets:
        out.heading("Signing secrets, for the receivers' verification")
        out.facts(secrets)


def _document(delivery: Delivery) -> dict[str, object]:
    return {
        "recipient": delivery.draft.recipient,
        "channel": delivery.draft.channel.value,
        "delivered": not delivery.failure,
        "reason": delivery.failure,
        "ms": delivery.took_ms,
        "secret": delivery.secret or None,
    }
