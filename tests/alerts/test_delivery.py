"""The whole way: what is raised reaches real receivers through either database, over failures and restarts."""

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from router.alerts.office import AlertOffice
from router.alerts.signature import shown_secret
from router.config.snapshot import AlertSettings
from router.domain.alerts import Channel, TargetDown, TargetUp, Webhook
from router.domain.observations import Notice, TargetEjected
from router.jobs.outbox import LEASE_S, Outbox
from router.storage.database import Database
from router.storage.outbox import OutboxTable
from router.system import SystemIds
from tests.alerts.receiver import Receiver, is_authentic, receiver
from tests.alerts.samples import settings, smtp
from tests.alerts.smtp_server import MailServer, mail_server
from tests.gateway.fakes import CollectingObserver, snapshot
from tests.providers.certificates import server_tls

Trust = Callable[[], ssl.SSLContext]
SECRET = shown_secret(b"hidden-word-of-24-bytes!")
DOWN = TargetDown("a/b", "HTTP 500")


class WallClock:
    """Real time, and as much more as a test lets pass."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_us(self) -> int:
        return int((time.time() + self.ahead_s) * 1e6)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


class Process:
    """All that one daemon has of alerts, on a database that outlives it."""

    def __init__(self, db: Database, clock: WallClock, found: AlertSettings, trust: Trust) -> None:
        self.office, self.observer = AlertOffice(clock), CollectingObserver()
        config = snapshot(alerts=found)
        self.office.open(b"k" * 32, lambda: config, trust)
        self.outbox = Outbox(OutboxTable(db), self.office, clock, ids=SystemIds(), observer=self.observer)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.outbox.run())

    async def kill(self) -> None:
        """In the middle of whatever it does."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.outbox.close()

    async def turn(self) -> None:
        await self.outbox.write()
        await self.outbox.deliver()

    def said(self) -> str:
        return " ".join(repr(each) for each in self.observer.seen)


def hook(peer: Receiver, channel: Channel = Channel.STANDARD) -> Webhook:
    return Webhook(f"{peer.url}/hidden-word?token=hidden-word", channel, SECRET if channel is Channel.STANDARD else "")


async def rows(db: Database) -> str:
    found: list[Any] = [*await db.all("SELECT * FROM alerts"), *await db.all("SELECT * FROM outbox")]
    found += await db.all("SELECT * FROM alert_cooldowns")
    return " ".join(str(tuple(row)) for row in found)


async def test_an_observed_failure_reaches_mail_and_webhooks_and_leaves_no_secret_behind(
    db: Database, certificate: Path, trust: Trust
) -> None:
    password = "hidden-word-of-the-mail-server"
    mail = MailServer(server_tls(certificate), ("router", password))
    async with receiver() as peer, receiver() as chat, mail_server(mail):
        server = smtp(mail.port, username="router", password=password)
        found = settings(emails=("ops@example.com",), webhooks=(hook(peer), hook(chat, Channel.SLACK)), smtp=server)
        process = Process(db, WallClock(), found, trust)
        process.office.emit(TargetEjected("a/b", "HTTP 500", 30.0))
        await process.turn()
        await process.outbox.close()
    assert is_authentic(peer.posts[0], SECRET, time.time)
    assert peer.posts[0].document["data"]["target"] == "a/b"
    assert chat.posts[0].document["text"] == "Target a/b is down"
    assert [m.message["Subject"] for m in mail.taken] == ["[routerd] Target a/b is down"]
    for kept in (await rows(db), process.said()):
        assert "a/b" in kept
        assert "hidden-word" not in kept
        assert SECRET not in kept
        assert "whsec_" not in kept


async def test_an_alert_survives_a_killed_process_and_arrives_under_the_same_id_with_the_same_body(
    db: Database, trust: Trust
) -> None:
    clock = WallClock()
    async with receiver([0, 500, 200]) as peer:
        found = settings(webhooks=(hook(peer),))
        first = Process(db, clock, found, trust)
        first.outbox.notify(DOWN)
        first.start()
        await asyncio.wait_for(peer.came.wait(), 10)
        await first.kill()
        clock.ahead_s += LEASE_S
        for _ in range(2):
            second = Process(db, clock, found, trust)
            await second.turn()
            await second.outbox.close()
            clock.ahead_s += 3600
        last = Process(db, clock, found, trust)
        await last.turn()
        await last.outbox.close()
    assert len(peer.posts) == 3, "killed while sending, refused, taken; then never again"
    assert len({post.headers["webhook-id"] for post in peer.posts}) == 1
    assert len({post.body for post in peer.posts}) == 1
    timestamps = [int(post.headers["webhook-timestamp"]) for post in peer.posts]
    assert timestamps == sorted(timestamps)
    assert timestamps[0] < timestamps[-1], "each attempt is signed with its own time"
    for post, at in zip(peer.posts, timestamps, strict=True):
        assert is_authentic(post, SECRET, lambda at=at: at)  # type: ignore[misc]  # the loop's own value, bound at once


async def test_an_alert_raised_just_before_the_end_is_sent_by_the_next_process(db: Database, trust: Trust) -> None:
    async with receiver() as peer:
        found = settings(webhooks=(hook(peer),))
        first = Process(db, WallClock(), found, trust)
        first.start()
        await asyncio.sleep(0)
        first.outbox.notify(DOWN)
        await first.kill()
        second = Process(db, WallClock(), found, trust)
        await second.turn()
        await second.outbox.close()
    assert len(peer.posts) == 1


async def test_two_daemons_on_one_database_send_each_letter_once(db: Database, trust: Trust) -> None:
    async with receiver() as peer, receiver() as other:
        found = settings(webhooks=(hook(peer), hook(other)))
        processes = [Process(db, WallClock(), found, trust) for _ in range(3)]
        for process in processes:
            process.outbox.notify(DOWN)
            process.outbox.notify(TargetDown("c/d", "HTTP 500"))
        for _ in range(2):
            await asyncio.gather(*(process.turn() for process in processes))
        for process in processes:
            await process.outbox.close()
    assert (len(peer.posts), len(other.posts)) == (2, 2)


async def test_a_flapping_target_is_told_once_a_cool_down(db: Database, trust: Trust) -> None:
    clock = WallClock()
    async with receiver() as peer:
        process = Process(db, clock, settings(webhooks=(hook(peer),), cooldown_s=600.0), trust)
        for _ in range(20):
            process.outbox.notify(DOWN)
            process.outbox.notify(TargetUp("a/b"))
            await process.turn()
            clock.ahead_s += 10
        assert sorted(post.document["type"] for post in peer.posts) == ["target.down", "target.up"]
        clock.ahead_s += 600
        process.outbox.notify(DOWN)
        await process.turn()
        await process.outbox.close()
    assert len(peer.posts) == 3


async def test_a_receiver_that_redirects_or_fails_gets_it_when_it_works_again(db: Database, trust: Trust) -> None:
    clock = WallClock()
    async with receiver([302, 503, 500, 204]) as peer, receiver() as healthy:
        peer.headers["location"] = healthy.url
        process = Process(db, clock, settings(webhooks=(hook(peer), hook(healthy))), trust)
        process.outbox.notify(DOWN)
        for _ in range(5):
            await process.turn()
            clock.ahead_s += 3600
        await process.outbox.close()
    assert (len(peer.posts), len(healthy.posts)) == (4, 1)
    assert [n.event for n in process.observer.of(Notice)] == ["alert", "alert_not_delivered"]
