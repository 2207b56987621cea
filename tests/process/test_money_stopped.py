"""SIGTERM with money set aside: everything is posted, every lease goes back, and the journal is gone."""

import asyncio

import pytest

from tests.daemon import KEY, Daemon, Simulator, Workplace, settings, until
from tests.process.money_load import Load, audited, books, figures, mixed, received

pytestmark = pytest.mark.process


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_drained_daemon_gives_every_lease_back_and_leaves_no_journal(
    folder: Workplace, request: pytest.FixtureRequest, engine: str
) -> None:
    given = "sqlite:///data/router.db" if engine == "sqlite" else str(request.getfixturevalue("postgres_url"))
    url = f"sqlite:///{folder.path}/data/router.db" if engine == "sqlite" else given
    with Simulator(folder, "sim", "--tokens-per-second", "60") as sim:
        config = settings(
            {"sim": sim.provider},
            {"m": {"targets": ["sim"], "budget_usd": 50}},
            database={"url": given},
            server={"secret": "0123456789abcdef" * 2, "drain": "500ms"},
        )
        config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 100, "refresh_schedule": "rolling_7d"}]
        routerd = Daemon(folder, config)
        load = Load(routerd.url, KEY)
        running = asyncio.create_task(load.run(16, mixed("m"), prefix="c"))
        await until(lambda: load.statuses[200, ""] > 30 or None, 10, what="answers")
        assert (await books(url)).leased > 0
        load.is_over = True
        await asyncio.to_thread(routerd.stop)
        await running
        found = await books(url)
        truth = received(sim)
        assert (found.leased, found.leases) == (0, [])
        assert (found.lost(truth), found.doubled) == ({}, [])
        assert found.posted("tenant:") == found.posted("model:") == found.cost
        assert "recovered" not in {attempt["outcome"] for attempt in found.attempts}
        assert list((folder.path / "data/journal").iterdir()) == []
        with Daemon(folder, config, name="again") as again:
            assert again.events("adoption") == []
            assert (await audited(again))["holds"] is True
    figures(f"{engine}: stopped with streams under way: {len(truth)} attempts, 0 lost, leases 0, no journal")
