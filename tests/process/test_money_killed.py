"""kill -9 under load: what reached a provider is in the ledger once, whatever moment the daemon died in."""

import asyncio
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, settings, until
from tests.process.money_load import Books, Load, audited, books, figures, mixed, received, settled

pytestmark = pytest.mark.process

RECOVERY_S = 60.0
ADOPTION_S = 15.0
CALLERS = 24


def money(url: str, sim: Simulator, **sections: object) -> Entry:
    """Two targets, so that a refused attempt is followed by another; budgets of the tenant, the key and the alias."""
    flaky = {"provider": "flaky", "model": "m", "priority": 0}
    steady = {"provider": "sim", "model": "m", "priority": 1}
    config = settings(
        {"sim": sim.provider, "flaky": sim.provider | {"api_key": "sk-another"}},
        {"m": {"targets": [flaky, steady], "budget_usd": 500}},
        database={"url": url},
        server={"secret": "0123456789abcdef" * 2},
        **sections,
    )
    config["bootstrap"]["api_keys"][0]["budget_usd"] = 500
    config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 1000}]
    return config


def place(folder: Workplace, url: str) -> str:
    """Where the tests read the database that a daemon in `folder` calls `url`."""
    return url if url.startswith("postgres") else f"sqlite:///{folder.path}/data/router.db"


@pytest.mark.parametrize("cycles", [3, pytest.param(20, marks=[pytest.mark.torture, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_under_load_it_loses_and_doubles_nothing(
    folder: Workplace, request: pytest.FixtureRequest, engine: str, cycles: int
) -> None:
    url = "sqlite:///data/router.db" if engine == "sqlite" else str(request.getfixturevalue("postgres_url"))
    draws, recovery, unsent = random.Random(engine), [0.0], 0
    with Simulator(folder, "sim", "--tokens-per-second", "100", "--fault", "500=0.1") as sim:
        config = money(url, sim)
        routerd: Daemon
        for cycle in range(cycles + 1):
            begun = time.monotonic()
            routerd = Daemon(folder, config, name=f"routerd-{cycle}")
            truth = received(sim)
            found = await settled(place(folder, url), lambda now: not now.lost(truth), RECOVERY_S, "the orphans")  # noqa: B023  awaited before the name changes
            recovery.append(time.monotonic() - begun)
            _is_whole(found, truth)
            unsent = len(found.unsent(truth))
            if cycle == cycles:
                break
            load = Load(routerd.url, KEY, seed=cycle)
            running = asyncio.create_task(load.run(CALLERS, mixed("m"), prefix=f"c{cycle}"))
            await asyncio.sleep(draws.uniform(*((0.4, 1.0) if cycles < 10 else (0.6, 1.6))))
            routerd.kill()
            load.is_over = True
            await running
            # What the kernel still had in its buffers arrives after the death of its sender.
            await _quiet(sim)
        assert (await audited(routerd))["holds"] is True
        routerd.stop()
        last = await books(place(folder, url))
        _is_whole(last, received(sim))
        assert (last.leased, last.leases) == (0, [])
        assert list((folder.path / "data/journal").iterdir()) == []
    recovered = sum(attempt["outcome"] == "recovered" for attempt in last.attempts)
    assert recovered >= cycles, "nobody was cut: the load was no load"
    assert unsent <= cycles * CALLERS
    figures(
        f"{engine}: {cycles} kills, {len(last.attempts)} attempts, {recovered} recovered, {unsent} of them not sent, "
        f"0 lost, 0 double, slowest recovery {max(recovery):.2f} s"
    )


def _is_whole(found: Books, truth: Counter[str]) -> None:
    assert found.lost(truth) == {}
    assert found.doubled == []
    more = found.unsent(truth)
    # A line is written before the first byte goes out: only a death between the two leaves an attempt nobody received.
    assert all(any(a["outcome"] == "recovered" for a in more if a["name"] == b["name"]) for b in more), more
    for budget in ("tenant:", "key:", "model:"):
        assert found.posted(budget) == found.cost


async def _quiet(sim: Simulator) -> None:
    """Until the simulator has ended what it began."""

    def ended() -> bool:
        lines = sim.log()
        return bool(2 * sum(line["event"] == "received" for line in lines) == len(lines))

    await until(ended, 10.0, what="the end of what the simulator began")


async def test_of_two_the_living_one_adopts_the_journal_of_the_killed_one(folder: Workplace, postgres_url: str) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "40") as sim:
        config = money(postgres_url, sim)
        with Daemon(folder, config, name="living") as living:
            dying = Daemon(folder, config, name="dying")
            load, other = Load(dying.url, KEY), Load(living.url, KEY)
            running = [
                asyncio.create_task(load.run(12, mixed("m"), prefix="dying")),
                asyncio.create_task(other.run(4, mixed("m"), prefix="living")),
            ]
            await asyncio.sleep(1.0)
            await _is_told_what_to_add(dying)
            dying.kill()
            load.is_over = True
            killed_at = time.monotonic()
            adopted = await living.event("adoption", ADOPTION_S)
            took = time.monotonic() - killed_at
            other.is_over = True
            await asyncio.gather(*running)
            await _quiet(sim)
            truth = received(sim)
            found = await settled(postgres_url, lambda now: not now.lost(truth), 5, "all that was sent")
            _is_whole(found, truth)
            details = adopted["details"]
            assert int(details["recovered"]) > 0
            assert (await audited(living))["holds"] is True
        last = await books(postgres_url)
        assert (last.leased, last.leases) == (0, [])
    assert other.statuses[0, ""] == 0
    figures(f"adopted {took:.1f} s after the kill: {details['requests']} requests, {details['recovered']} recovered")


async def test_a_daemon_killed_while_it_adopts_leaves_the_rest_to_the_next(folder: Workplace) -> None:
    url = place(folder, "sqlite:")
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        config = money("sqlite:///data/router.db", sim)
        first = Daemon(folder, config)
        load = Load(first.url, KEY)
        running = asyncio.create_task(load.run(CALLERS, mixed("m"), prefix="a"))
        await asyncio.sleep(1.0)
        first.kill()
        load.is_over = True
        await running
        await _quiet(sim)
        (journal,) = (folder.path / "data/journal").iterdir()
        kept = folder.path / "kept"
        shutil.copytree(journal, kept)
        with Daemon(folder, config, name="second"):
            pass
        # As after a death between the database's commit and the end of the journal: all of it comes once more.
        shutil.copytree(kept, Path(journal))
        with Daemon(folder, config, name="third") as third:
            report = await audited(third)
            assert report["holds"] is True
        _is_whole(await books(url), received(sim))


async def _is_told_what_to_add(daemon: Daemon) -> None:
    """Without Redis two processes keep no rate limit together: both say so, and serve."""
    said: Entry = {}
    for _ in range(100):
        async with daemon.client(None) as http, http.get("/readyz") as ready:
            said = await ready.json()
            if ready.status == 503:
                assert any("redis.url" in reason for reason in said["reasons"]), said
                return
        await asyncio.sleep(0.1)
    raise AssertionError(f"ready beside another process without Redis: {said}")
