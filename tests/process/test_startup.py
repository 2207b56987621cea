"""What keeps a daemon from starting is one clear message and the documented exit code; what does not is done on boot."""

import asyncio
import json
import socket
import sqlite3

import asyncpg
import pytest

from tests.daemon import Daemon, Program, Workplace, chat, settings, until

pytestmark = pytest.mark.process

CONFIG = settings({"sim": {"type": "simulated"}}, {"m": "sim"})


def refused(folder: Workplace, config: object) -> tuple[int, str]:
    """Exit code and words of a daemon that cannot start."""
    (folder.path / "refused.json").write_text(json.dumps(config))
    program = Program(folder, "refused", ["--config", "refused.json"], {})
    return program.wait(), program.said()


async def test_a_second_daemon_on_the_same_database_exits_2_and_the_first_serves_on(folder: Workplace) -> None:
    with Daemon(folder, CONFIG) as first:
        code, said = refused(folder, CONFIG)
        assert code == 2
        assert "router.db" in said
        assert "Traceback" not in said
        async with first.client() as http:
            assert (await http.post("/v1/chat/completions", json=chat("m"))).status == 200


async def test_an_address_in_use_is_named(folder: Workplace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused(folder, CONFIG | {"server": {"listen": address}})
    assert (code, address in said, "in use" in said, "Traceback" in said) == (1, True, True, False)


async def test_a_database_of_a_later_release_is_refused_and_left_as_it_is(folder: Workplace) -> None:
    with Daemon(folder, CONFIG):
        pass
    database = folder.path / "data/router.db"
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later', 'x', 0)")
    connection.close()
    code, said = refused(folder, CONFIG)
    assert (code, "9999_later" in said, "later routerd" in said, "Traceback" in said) == (2, True, True, False)


async def test_a_wrong_file_exits_2_and_names_every_mistake(folder: Workplace) -> None:
    code, said = refused(folder, CONFIG | {"servre": {}, "tiers": {"fast": "nobody"}, "health": {"interval": "soon"}})
    assert code == 2
    assert all(word in said for word in ("servre", "nobody", "health.interval", "refused.json:"))


async def test_postgresql_is_migrated_on_boot_and_holds_the_ledger(folder: Workplace, postgres_url: str) -> None:
    url = postgres_url.replace("postgresql://", "postgres://") + "?sslmode=disable"
    environ = {"ROUTER_DB_URL": url, "ROUTER_SECRET": "a-secret-of-more-than-32-bytes-for-tests"}
    config = settings({"sim": {"type": "simulated"}}, {"m": "sim"}, server={"secret": "${ROUTER_SECRET}"})
    with Daemon(folder, config, environ) as routerd:
        async with routerd.client() as http:
            for _ in range(3):
                assert (await http.post("/v1/chat/completions", json=chat("m"))).status == 200
            health = await (await http.get("/healthz")).json()
            assert health["checks"]["database"]["status"] == "ok"
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch("SELECT outcome, output_tokens FROM requests")
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [("ok", 24)] * 3
    with Daemon(folder, config, environ, name="again") as routerd:
        async with routerd.client() as http:
            assert (await http.post("/v1/chat/completions", json=chat("m"))).status == 200
    assert not list(folder.path.glob("data/*.db"))


async def test_postgresql_without_a_secret_is_refused(folder: Workplace, postgres_url: str) -> None:
    code, said = refused(folder, CONFIG | {"database": {"url": postgres_url}})
    assert (code in {1, 2}, "server.secret" in said, "Traceback" in said) == (True, True, False)


async def test_a_long_folder_name_keeps_nobody_from_starting(folder: Workplace) -> None:
    deep = "d" * 60 + "/" + "e" * 60
    with Daemon(
        folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"}, database={"url": f"sqlite:///{deep}/router.db"})
    ) as routerd:
        async with routerd.client() as http:
            assert (await http.get("/readyz")).status == 200
        assert "commands cannot reach" in routerd.events("control")[0]["message"]


async def test_it_is_ready_within_a_second_and_a_half_and_small(folder: Workplace) -> None:
    began = asyncio.get_running_loop().time()
    with Daemon(folder, CONFIG) as routerd:
        assert asyncio.get_running_loop().time() - began < 1.5
        assert routerd.rss_bytes < 80 * 2**20
        await until(lambda: routerd.events("started"))
