"""A journal that cannot be written, a database that is gone: refused before anything is sent, said why, and over by itself."""

import asyncio

import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, settings
from tests.process.money_load import Books, Load, audited, books, mixed, received, settled
from tests.servers import PostgresServer

pytestmark = pytest.mark.process

CALLERS = 16


def money(url: str, sim: Simulator, **sections: object) -> Entry:
    config = settings(
        {"sim": sim.provider},
        {"m": "sim"},
        database={"url": url},
        server={"secret": "0123456789abcdef" * 2},
        **sections,
    )
    config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 1000}]
    return config


@pytest.mark.timeout(300)
@pytest.mark.parametrize("outage_s", [6.0, pytest.param(60.0, marks=pytest.mark.torture)])
async def test_a_database_outage_costs_nothing_and_ends_by_itself(
    folder: Workplace, restartable_postgres: PostgresServer, outage_s: float
) -> None:
    url = restartable_postgres.url(tcp=True)
    with Simulator(folder, "sim", "--tokens-per-second", "100") as sim, Daemon(folder, money(url, sim)) as routerd:
        load = Load(routerd.url, KEY)
        running = asyncio.create_task(load.run(CALLERS, mixed("m"), prefix="c", pause_s=0.02))
        await asyncio.sleep(1.5)
        clock = asyncio.get_running_loop().time
        assert set(load.statuses) == {(200, "")}, load.statuses
        await asyncio.to_thread(restartable_postgres.stop)
        stopped_at = clock()
        await asyncio.sleep(outage_s)
        during = [answer for answer in load.timeline if answer[0] > stopped_at]
        async with routerd.client(None) as http, http.get("/readyz") as ready:
            print(await ready.text())
        await asyncio.to_thread(restartable_postgres.start)
        started_at = clock()
        await asyncio.sleep(5)
        load.is_over = True
        await running
        truth = received(sim)
        found = await settled(url, lambda now: not now.lost(truth), 5, "the ledger")
        flushed_s = clock() - started_at
        answered = sum(status == 200 for _, status, _ in during)
        refused = [at for at, status, code in load.timeline if (status, code) == (503, "storage_unavailable")]
        assert set(load.statuses) <= {(200, ""), (503, "storage_unavailable")}, load.statuses
        assert answered > 50, "nothing was served from the lease"
        _is_whole(found, truth)
        assert (await audited(routerd))["holds"] is True
        print(f"\n{outage_s} s without a database: {answered} answered, {len(refused)} refused, flushed within {flushed_s:.1f} s",
              load.statuses, load.messages)
        if refused:
            assert max(refused) - started_at < 5
    assert (await books(url)).leased == 0


def _is_whole(found: Books, truth: "dict[str, int]") -> None:
    assert found.lost(truth) == {}
    assert found.unsent(truth) == []
    assert found.doubled == []
    assert found.posted("tenant:") == found.cost
