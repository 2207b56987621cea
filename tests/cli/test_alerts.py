"""`routerd alerts test`: says who was reached and what signs each webhook, and fails when somebody was not."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.alerts.receiver import Receiver, is_authentic, receiver
from tests.cli.commandline import CommandLine

SERVED = """
providers: {one: {type: simulated}}
model_catalog: [{alias: a, targets: [{provider: one}]}]
server: {secret: a-secret-of-the-tests-that-is-long-enough}
"""


@contextmanager
def receiving(*answers: int) -> Iterator[Receiver]:
    """A receiver in a thread of its own: a command runs its own event loop."""
    ready, over = threading.Event(), threading.Event()
    found: list[Receiver] = []

    async def serve() -> None:
        async with receiver(list(answers)) as peer:
            found.append(peer)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield found[0]
    finally:
        over.set()
        thread.join()


def hooks(*urls: str, more: str = "") -> str:
    listed = ", ".join(f'{{url: "{url}/hidden-word"{more}}}' for url in urls)
    return SERVED + f"budgets: {{alerts: {{webhooks: [{listed}]}}}}\n"


def test_a_test_alert_arrives_signed_with_the_secret_that_is_shown(bare: CommandLine) -> None:
    with receiving() as peer:
        bare.write(hooks(peer.url))
        printed = bare("alerts", "test")
        shown = bare("alerts", "test", "--json").document["deliveries"][0]["secret"]
    assert printed.code == 0
    assert "delivered in" in printed.out
    assert shown.startswith("whsec_")
    assert shown in printed.out
    assert "hidden-word" not in printed.out
    assert [post.document["type"] for post in peer.posts] == ["alert.test"] * 2
    assert all(is_authentic(post, shown, time.time) for post in peer.posts)


def test_a_secret_of_the_file_is_not_shown_again(bare: CommandLine) -> None:
    with receiving() as peer:
        bare.write(hooks(peer.url, more=', secret: "whsec_' + "A" * 32 + '"'))
        printed = bare("alerts", "test")
    assert (printed.code, "whsec_" in printed.out) == (0, False)
    assert is_authentic(peer.posts[0], "whsec_" + "A" * 32, time.time)


def test_somebody_who_was_not_reached_is_a_failure_with_its_reason(bare: CommandLine) -> None:
    with receiving() as good, receiving(500) as bad:
        bare.write(hooks(good.url, bad.url))
        printed, found = bare("alerts", "test"), bare("alerts", "test", "--json")
    assert (printed.code, found.code) == (1, 1)
    assert "HTTP 500" in printed.out
    assert [d["delivered"] for d in found.document["deliveries"]] == [True, False]


def test_a_tenants_own_recipients_are_tried_when_named(bare: CommandLine) -> None:
    with receiving() as peer:
        row = f'{{tenant: demo, budget_usd: 1, alert_webhooks: [{{url: "{peer.url}", format: slack}}]}}'
        bare.write(SERVED + f"bootstrap: {{tenants: [{{name: demo}}], tenant_budgets: [{row}]}}\n")
        alone, with_tenant = bare("alerts", "test"), bare("alerts", "test", "--tenant", "demo")
        unknown = bare("alerts", "test", "--tenant", "dmo")
    assert (alone.code, "names nobody to tell" in alone.err) == (2, True)
    assert with_tenant.code == 0
    assert [post.document["text"] for post in peer.posts] == ["Test of alerts"]
    assert (unknown.code, "demo" in unknown.err) == (2, True)


def test_mail_that_cannot_be_sent_is_a_failure(bare: CommandLine) -> None:
    bare.write(SERVED + "budgets: {alerts: {emails: [ops@example.com]}}\n")
    printed = bare("alerts", "test")
    assert (printed.code, "smtp.host is not set" in printed.out) == (1, True)
