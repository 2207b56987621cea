"""Who gets an alert, by which way, and what is never kept of it."""

import time
from typing import Any

import pytest

from router.alerts.courier import Courier
from router.alerts.signature import shown_secret
from router.config.snapshot import AlertSettings
from router.domain.alerts import Channel, DeliveryFailed, Draft, Letter, Recipients, TargetDown, Webhook
from router.system import SystemClock
from tests.alerts.receiver import is_authentic, receiver
from tests.alerts.samples import raised, settings, smtp
from tests.stores import NOW

KEY = b"k" * 32
HOOK = Webhook("https://hooks.slack.com/services/T0/B0/hidden-word", Channel.SLACK)
TENANTS = Recipients(("finance@example.com", "ops@example.com"), (Webhook("https://b.example/hidden-word", Channel.TEAMS),))
ALERT = raised(TargetDown("a/b", "HTTP 500"))


def courier(**given: Any) -> Courier:
    found = settings(**given)
    return Courier(lambda: found, KEY, SystemClock())


def letter(draft: Draft) -> Letter:
    return Letter("9" * 32, draft, "t1", NOW, 0, NOW)


def test_everybody_gets_it_once_each_in_their_own_way() -> None:
    drafts = courier(emails=("ops@example.com",), webhooks=(HOOK,), smtp=smtp(25)).drafts(ALERT, TENANTS)
    assert sorted((d.channel.value, d.recipient.partition("#")[0]) for d in drafts) == [
        ("email", "finance@example.com"),
        ("email", "ops@example.com"),
        ("slack", "hooks.slack.com"),
        ("teams", "b.example"),
    ]


def test_without_a_mail_server_no_mail_is_written() -> None:
    assert courier(emails=("ops@example.com",)).drafts(ALERT, Recipients()) == []


def test_a_reference_names_the_host_and_nothing_else_of_the_url() -> None:
    (draft,) = courier(webhooks=(HOOK,)).drafts(ALERT, Recipients())
    assert draft.recipient.startswith("hooks.slack.com#")
    assert "hidden-word" not in f"{draft}"
    assert "hidden-word" not in repr(HOOK)
    other = Courier(AlertSettings, b"o" * 32, SystemClock())
    assert other.reference(HOOK.url) != draft.recipient


async def test_a_standard_webhook_is_signed_with_the_secret_the_file_gives() -> None:
    secret = shown_secret(b"s" * 24)
    async with receiver() as peer:
        desk = courier(webhooks=(Webhook(peer.url, Channel.STANDARD, secret),))
        (draft,) = desk.drafts(ALERT, Recipients())
        await desk.send(letter(draft), Recipients())
        await desk.close()
    (post,) = peer.posts
    assert is_authentic(post, secret, time.time)
    assert post.document["type"] == "target.down"
    assert post.headers["webhook-id"] == "msg_" + "9" * 32


async def test_without_a_secret_in_the_file_each_url_has_one_of_its_own_and_keeps_it() -> None:
    async with receiver() as peer:
        desk = courier(webhooks=(Webhook(peer.url),))
        shown = shown_secret(courier().signing_key(peer.url))
        (draft,) = desk.drafts(ALERT, Recipients())
        await desk.send(letter(draft), Recipients())
        await desk.close()
    assert is_authentic(peer.posts[0], shown, time.time)
    assert not is_authentic(peer.posts[0], shown_secret(courier().signing_key(peer.url + "/")), time.time)


async def test_a_webhook_of_another_format_is_not_signed() -> None:
    async with receiver() as peer:
        desk = courier(webhooks=(Webhook(peer.url, Channel.SLACK),))
        (draft,) = desk.drafts(ALERT, Recipients())
        await desk.send(letter(draft), Recipients())
        await desk.close()
    assert not [name for name in peer.posts[0].headers if name.startswith("webhook-")]


async def test_a_webhook_taken_out_of_the_configuration_gets_nothing_more() -> None:
    async with receiver() as peer:
        (draft,) = courier(webhooks=(Webhook(peer.url),)).drafts(ALERT, Recipients())
        with pytest.raises(DeliveryFailed, match="no longer configured") as caught:
            await courier().send(letter(draft), Recipients())
    assert (caught.value.is_final, peer.posts) == (True, [])


async def test_an_address_of_the_file_may_be_private_and_one_from_elsewhere_may_not() -> None:
    async with receiver() as peer:
        own = Recipients(webhooks=(Webhook(peer.url),))
        trusting, wary = courier(named=own.webhooks), courier()
        (draft,) = trusting.drafts(ALERT, own)
        await trusting.send(letter(draft), own)
        assert len(peer.posts) == 1
        with pytest.raises(DeliveryFailed, match="the file does not name"):
            await wary.send(letter(draft), own)
        assert len(peer.posts) == 1
        for desk in (trusting, wary):
            await desk.close()


async def test_mail_waits_while_there_is_no_mail_server() -> None:
    with pytest.raises(DeliveryFailed, match=r"smtp\.host is not set") as caught:
        await courier().send(letter(Draft(Channel.EMAIL, "a@example.com", "t", "b")), Recipients())
    assert not caught.value.is_final
