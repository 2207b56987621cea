"""Daemons on one PostgreSQL: what one changes the others know at once, and soon without being told."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from router.storage.database import Database
from tests.daemon import KEY, ROOT, Daemon, Entry, Simulator, Workplace, chat, settings
from tests.process.money_load import books, figures
from tests.stores import open_database

pytestmark = pytest.mark.process

SECRET = KEY.partition(".")[2]
KEYS = [f"key{number}" for number in range(3)]
FRESH_S = 2.0
"""So long a key is known without reading it again."""

PRICE = {"input": 0.1, "output": 100}
TOKENS = 200
HELD = TOKENS * 100_000 + 100_000
LISTENERS = "pg_stat_activity WHERE application_name = 'routerd listen' AND datname = current_database()"


def config(postgres_url: str, redis_url: str, provider: Entry, **more: object) -> Entry:
    bootstrap = {
        "tenants": [{"name": "demo"}],
        "api_keys": [{"tenant": "demo", "name": name, "prefix": name, "secret": SECRET} for name in KEYS],
    }
    catalog = {"m": {"targets": ["sim"], "price": PRICE}}
    server = {"secret": "0123456789abcdef" * 2}
    shared = {"database": {"url": postgres_url}, "redis": {"url": redis_url}, "server": server}
    return settings({"sim": provider}, catalog, **shared) | {"bootstrap": bootstrap | more}


@contextmanager
def two_daemons(folder: Workplace, given: Entry) -> Iterator[tuple[Daemon, Daemon]]:
    with Daemon(folder, given, name="one") as one, Daemon(folder, given, name="two") as two:
        yield one, two


async def ask(daemon: Daemon, key: str, **fields: object) -> int:
    async with daemon.client(f"sk-{key}.{SECRET}") as http:
        answer = await http.post("/v1/chat/completions", json=chat("m", "output_tokens=1;tokens_per_second=0", **fields))
        return answer.status


def run_elsewhere(folder: Path, file: Path, *words: str) -> None:
    """A command in a folder where no daemon's socket is, as on another machine."""
    program = [sys.executable, "-m", "router", *words, "--config", str(file)]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def refused_after(db: Database, daemon: Daemon, key: str) -> float:
    """Seconds from the commit of the revocation to the first refusal."""
    while await ask(daemon, key) != 401:
        await asyncio.sleep(0.01)
    seen = time.time()
    row = await db.one("SELECT updated_at FROM api_keys WHERE prefix = $1", key)
    assert row is not None
    return float(seen - row["updated_at"] / 1e6)


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    opened = await open_database(url)
    try:
        yield opened
    finally:
        await opened.close()


async def listening(db: Database, many: int) -> None:
    async with asyncio.timeout(30):
        while len(await db.all(f"SELECT pid FROM {LISTENERS} AND query LIKE 'LISTEN%'")) < many:
            await asyncio.sleep(0.05)


async def test_a_revoked_key_is_refused_by_every_daemon_at_once(
    folder: Workplace, tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    given = config(postgres_url, redis_url, {"type": "simulated"})
    took: list[float] = []
    with two_daemons(folder, given) as daemons:
        async with database(postgres_url) as db:
            await listening(db, 2)
            for key in KEYS:
                # What was read just now would be good for two seconds more if nobody told.
                await db.run("UPDATE api_keys SET name = name WHERE prefix = $1", key)
                assert [await ask(daemon, key) for daemon in daemons] == [200, 200]
                command = asyncio.to_thread(run_elsewhere, tmp_path, daemons[0].file, "keys", "revoke", key, "--yes")
                refusals = asyncio.gather(*(refused_after(db, daemon, key) for daemon in daemons))
                await command
                took.append(max(await refusals))
    assert max(took) < 5, took
    assert min(took) < FRESH_S - 0.5, took
    figures(f"revoked keys were refused by both daemons {', '.join(f'{s * 1000:.0f} ms' for s in took)} after the commit")


async def test_what_nobody_tells_of_is_noticed_all_the_same(
    folder: Workplace, tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    given = config(postgres_url, redis_url, {"type": "simulated"})
    with two_daemons(folder, given) as daemons:
        async with database(postgres_url) as db:
            await db.run("DROP TRIGGER api_keys_tell ON api_keys")
            assert [await ask(daemon, KEYS[0]) for daemon in daemons] == [200, 200]
            await asyncio.to_thread(run_elsewhere, tmp_path, daemons[0].file, "keys", "revoke", KEYS[0], "--yes")
            took = await asyncio.gather(*(refused_after(db, daemon, KEYS[0]) for daemon in daemons))
    assert max(took) < 5, took
    figures(f"a revoked key that nobody told of was refused {max(took):.2f} s after the commit")


async def _cut(db: Database) -> None:
    """End every listening connection as often as it comes back."""
    while True:
        await db.all(f"SELECT pg_terminate_backend(pid) FROM {LISTENERS}")
        await asyncio.sleep(0.05)


async def test_without_listening_polling_goes_on_and_listening_comes_back_by_itself(
    folder: Workplace, postgres_url: str, redis_url: str
) -> None:
    given = config(postgres_url, redis_url, {"type": "simulated"})
    key = KEYS[0]
    with two_daemons(folder, given) as daemons:
        async with database(postgres_url) as db:
            await listening(db, 2)
            cutting = asyncio.create_task(_cut(db))
            for daemon in daemons:
                await daemon.event("listen", 20, level="warning")
                assert await ask(daemon, key) == 200
            await db.run("UPDATE api_keys SET disabled = 1, updated_at = $1 WHERE prefix = $2", time.time_ns() // 1000, key)
            took = await asyncio.gather(*(refused_after(db, daemon, key) for daemon in daemons))
            assert max(took) < 5, took
            cutting.cancel()
            for daemon in daemons:
                await daemon.event("listen", 30, level="info")
            key = KEYS[1]
            assert [await ask(daemon, key) for daemon in daemons] == [200, 200]
            await db.run("UPDATE api_keys SET disabled = 1, updated_at = $1 WHERE prefix = $2", time.time_ns() // 1000, key)
            again = await asyncio.gather(*(refused_after(db, daemon, key) for daemon in daemons))
    assert max(again) < 5, again
    figures(f"refused {max(took):.2f} s after the commit while nobody could listen, then {max(again):.2f} s")


async def test_what_lies_idle_is_given_to_the_daemon_that_was_refused_for_it(
    folder: Workplace, postgres_url: str, redis_url: str
) -> None:
    """The first daemon has leased all there is for one answer that cost little; the second is refused, and asks."""
    with Simulator(folder) as sim:
        budget = [{"tenant": "demo", "budget_usd": 1.5 * HELD / 10**9}]
        given = config(postgres_url, redis_url, sim.provider, tenant_budgets=budget)
        with two_daemons(folder, given) as (one, two):
            async with database(postgres_url) as db:
                await listening(db, 2)
                took = [await _recalled(db, one, two), await _recalled(db, two, one), await _recalled(db, one, two)]
        last = await books(postgres_url)
    assert (last.leased, last.leases) == (0, [])
    assert max(took) < 1, took
    figures(f"what was wanted was given back {', '.join(f'{s * 1000:.1f} ms' for s in took)} after the refusal")


async def _recalled(db: Database, holder: Daemon, asker: Daemon) -> float:
    """Seconds from the refusal's commit until the holder's free money was back in the row."""
    assert await ask(holder, KEYS[0], max_tokens=TOKENS) == 200
    before = await _row(db)
    asked = asyncio.create_task(ask(asker, KEYS[0], max_tokens=TOKENS))
    async with asyncio.timeout(10):
        while (await _row(db))["wanted"] == before["wanted"]:
            await asyncio.sleep(0)
        began = time.perf_counter()
        while not (await _row(db))["returned"] > before["returned"]:
            await asyncio.sleep(0)
    took = time.perf_counter() - began
    assert await asked == 200
    return took


async def _row(db: Database) -> dict[str, int]:
    row = await db.one("""
        SELECT p.wanted, CAST(COALESCE(SUM(l.returned_nano), 0) AS BIGINT) AS returned
        FROM budget_periods p LEFT JOIN leases l ON l.budget = p.budget AND l.period = p.period
        GROUP BY p.budget, p.period""")
    assert row is not None
    return {"wanted": int(row["wanted"]), "returned": int(row["returned"])}
