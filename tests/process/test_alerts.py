"""A target that fails in the running daemon is told to a receiver, even one that the first daemon could not reach."""

import time

import pytest

from tests.alerts.receiver import is_authentic, receiver
from tests.alerts.smtp_server import MailServer, mail_server
from tests.daemon import Daemon, Simulator, Workplace, chat, settings, until

pytestmark = pytest.mark.process

SECRET = "whsec_" + "A" * 32


async def test_a_target_that_goes_down_is_told_by_webhook_and_mail(folder: Workplace) -> None:
    async with receiver() as peer, mail_server(MailServer()) as mail:
        alerts = {"webhooks": [{"url": f"{peer.url}/hidden-word", "secret": SECRET}], "emails": ["ops@example.com"]}
        smtp = {"host": "127.0.0.1", "port": mail.port, "from": "routerd@example.com", "tls": "off"}
        with (
            Simulator(folder, "bad", "--fault", "500=1") as bad,
            Daemon(folder, settings({"bad": bad.provider}, {"m": "bad"}, budgets={"alerts": alerts}, smtp=smtp)) as routerd,
        ):
            await fail_five_times(routerd)
            await until(lambda: peer.posts or None, 10.0, what="the webhook")
            await until(lambda: mail.taken or None, 10.0, what="the mail")
            assert "hidden-word" not in f"{routerd.lines()}"
    (post,) = peer.posts
    assert is_authentic(post, SECRET, time.time)
    assert (post.document["type"], post.document["data"]["target"]) == ("target.down", "bad/m")
    assert mail.taken[0].message["Subject"] == "[routerd] Target bad/m is down"


async def fail_five_times(routerd: Daemon) -> None:
    async with routerd.client() as http:
        for _ in range(5):
            await (await http.post("/v1/chat/completions", json=chat("m"))).read()


async def test_a_letter_of_a_killed_daemon_is_sent_by_the_next_one(folder: Workplace) -> None:
    bad = Simulator(folder, "bad", "--fault", "500=1")
    async with receiver([500, 200]) as peer:
        alerts = {"webhooks": [{"url": peer.url, "secret": SECRET}]}
        config = settings({"bad": bad.provider}, {"m": "bad"}, budgets={"alerts": alerts})
        with Daemon(folder, config) as first:
            await fail_five_times(first)
            await until(lambda: "alert_not_delivered" in first.stdout.read_text(), 10.0, what="the log to say so")
            first.kill()
        with Daemon(folder, config):
            await until(lambda: len(peer.posts) >= 2, 20.0, what="the second attempt")
    assert len({post.headers["webhook-id"] for post in peer.posts}) == 1
    assert len({post.body for post in peer.posts}) == 1
