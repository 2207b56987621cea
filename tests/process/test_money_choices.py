"""Whose budget it is, what is asked where it has no room, what answers say of it, and who is refused without a database."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, chat, settings
from tests.process.money_load import Load, audited, books
from tests.servers import PostgresServer

pytestmark = pytest.mark.process

SECRET = KEY.partition(".")[2]
# A question holds about 0.0104 USD: nearly all of it is its cap.
PRICE = {"input": 0.1, "output": 100}
TOKENS = 100


def question(model: str, case: str, **fields: object) -> Entry:
    return chat(model, f"output_tokens={TOKENS}", case=case, max_tokens=TOKENS, **fields)


def key(prefix: str, **fields: object) -> Entry:
    return {"tenant": "demo", "name": prefix, "prefix": prefix, "secret": SECRET} | fields


async def ask(daemon: Daemon, prefix: str, model: str, case: str) -> tuple[int, Entry, Entry]:
    """Status, headers that tell of budgets, and the body."""
    async with daemon.client(f"sk-{prefix}.{SECRET}") as http:
        sent = {"X-Request-Id": case, "Origin": "https://a.example"}
        async with http.post("/v1/chat/completions", json=question(model, case), headers=sent) as answer:
            names = ("X-Budget-Limit-USD", "X-Budget-Remaining-USD", "X-Budget-Reset", "X-Budget-Warning")
            told = {name: answer.headers[name] for name in names if name in answer.headers}
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert all(name.lower() in exposed for name in names)
            return answer.status, told, await answer.json()


async def test_all_keys_of_a_member_share_a_budget_which_the_402_names_and_nobody_else_s(folder: Workplace) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        config = settings({"sim": sim.provider}, {"m": {"targets": ["sim"], "price": PRICE}})
        config["server"]["cors_origins"] = ["*"]
        people = {"ann@example.com": 0.025, "bob@example.com": 5}
        config["bootstrap"]["memberships"] = [
            {"tenant": "demo", "email": email, "role": "user", "budget_usd": limit} for email, limit in people.items()
        ]
        config["bootstrap"]["api_keys"] += [
            *(key("ann1", member="Ann@example.com"), key("ann2", member="ann@example.com")),
            key("bob", member="bob@example.com"),
        ]
        with Daemon(folder, config) as routerd:
            words = ("--tenant", "demo", "--name", "cli", "--prefix", "cli", "--member", "ann@example.com")
            made = await asyncio.to_thread(routerd.command, "keys", "create", *words, "--config", str(routerd.file))
            for number, prefix in enumerate(("ann1", "ann2")):
                status, told, _ = await ask(routerd, prefix, "m", f"ann-{number}")
                assert (status, told["X-Budget-Limit-USD"]) == (200, "0.025")
            status, told, body = await ask(routerd, "ann1", "m", "ann-over")
            assert (status, body["error"]["code"]) == (402, "budget_exceeded")
            assert "budget of this member has no room" in body["error"]["message"]
            assert told["X-Budget-Limit-USD"] == "0.025"
            assert 0 < float(told["X-Budget-Remaining-USD"]) < 0.0104
            assert told["X-Budget-Reset"].endswith("Z")
            assert told["X-Budget-Warning"] == "true"
            async with routerd.client(made.strip()) as http:
                refused = await http.post("/v1/chat/completions", json=question("m", "cli"))
                assert refused.status == 402
            assert (await ask(routerd, "bob", "m", "bob"))[0] == 200
            status, told, _ = await ask(routerd, "demo", "m", "nobody")
            assert (status, told) == (200, {})
            kept = await routerd.entry("bob")
            assert kept["member"] == "bob@example.com"
            await routerd.entry("nobody")
            assert (await audited(routerd))["holds"] is True
            found = await books(f"sqlite:///{folder.path}/data/router.db")
            assert len({row["budget"] for row in found.budgets if row["budget"].startswith("member:")}) == 2
            listed = await asyncio.to_thread(routerd.command, "keys", "list", "--config", str(routerd.file))
            assert "ann@example.com" in listed
            del config["bootstrap"]["memberships"][0], config["bootstrap"]["api_keys"][1:3]
            await routerd.reload(config)
            async with routerd.client(made.strip()) as http:
                await eventually(lambda: _answers(http, 401), "the key of somebody who is no member any more is refused")


async def eventually(ask: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 15.0) -> None:
    """Until what is asked for is so."""
    end = asyncio.get_running_loop().time() + timeout_s
    while not await ask():
        assert asyncio.get_running_loop().time() < end, f"waited {timeout_s} s in vain: {what}"
        await asyncio.sleep(0.05)


async def _answers(http: aiohttp.ClientSession, status: int) -> bool:
    async with http.post("/v1/chat/completions", json=question("m", "again")) as answer:
        return answer.status == status


async def test_what_is_named_on_budget_answers_once_the_budget_of_an_alias_is_used_up(folder: Workplace) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        dear = {"targets": ["sim"], "price": PRICE, "budget_usd": 0.025, "fallbacks": {"on_budget": ["cheap"]}}
        config = settings({"sim": sim.provider}, {"dear": dear, "cheap": "sim", "strict": dear | {"fallbacks": {}}})
        config["server"]["cors_origins"] = ["*"]
        with Daemon(folder, config) as routerd:
            answers = [await ask(routerd, "demo", "dear", f"case-{number}") for number in range(4)]
            assert [status for status, _, _ in answers] == [200] * 4
            asked = [(await routerd.entry(f"case-{number}"))["tries"][0]["alias"] for number in range(4)]
            assert asked == ["dear", "dear", "cheap", "cheap"]
            strict = [(await ask(routerd, "demo", "strict", f"strict-{number}"))[0] for number in range(4)]
            assert strict == [200, 200, 402, 402]
            shown = await asyncio.to_thread(routerd.command, "explain", "-m", "dear", "--config", str(routerd.file))
            assert "on_budget: cheap (sim/cheap)" in shown
            assert (await audited(routerd))["holds"] is True


async def test_an_upstream_error_and_a_429_tell_of_the_budget_too(folder: Workplace) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        config = settings({"sim": sim.provider}, {"m": {"targets": ["sim"], "price": PRICE, "max_attempts": 1}})
        config["server"]["cors_origins"] = ["*"]
        config["budgets"] = {"default_usd": 100}
        config["bootstrap"]["api_keys"][0]["rate_limit"] = {"requests_per_minute": 2}
        with Daemon(folder, config) as routerd:
            assert (await ask(routerd, "demo", "m", "first"))[0] == 200
            async with routerd.client() as http:
                body = chat("m", "error", case="broken")
                async with http.post("/v1/chat/completions", json=body) as broken:
                    assert (broken.status, broken.headers["X-Budget-Limit-USD"]) == (502, "100.0")
            status, told, body = await ask(routerd, "demo", "m", "often")
            assert (status, body["error"]["code"], told["X-Budget-Limit-USD"]) == (429, "rate_limited", "100.0")


@pytest.mark.timeout(120)
async def test_with_deny_a_hard_budget_is_refused_without_the_database_though_its_lease_has_room(
    folder: Workplace, restartable_postgres: PostgresServer
) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        config = settings(
            {"sim": sim.provider},
            {"m": "sim"},
            database={"url": restartable_postgres.url(tcp=True)},
            server={"secret": "0123456789abcdef" * 2},
        )
        config["budgets"] = {"on_db_loss": "deny"}
        config["bootstrap"]["tenants"].append({"name": "free"})
        config["bootstrap"]["api_keys"].append(key("free") | {"tenant": "free"})
        config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 1000}]
        with Daemon(folder, config) as routerd:
            held, free = Load(routerd.url, KEY), Load(routerd.url, f"sk-free.{SECRET}")
            async with aiohttp.ClientSession() as http:
                for load in (held, free):
                    assert await load.ask(http, f"{load.key}-0", chat("m")) == (200, "")
                await asyncio.to_thread(restartable_postgres.stop)
                await eventually(lambda: _is(held, http, (503, "storage_unavailable")), "a refusal")
                assert "not spent without it" in held.messages["storage_unavailable"]
                clock = asyncio.get_running_loop().time
                begun = clock()
                for number in range(50):
                    assert await held.ask(http, f"no-{number}", chat("m")) == (503, "storage_unavailable")
                    assert await free.ask(http, f"free-{number}", chat("m")) == (200, "")
                assert clock() - begun < 20, "every request waits for the database"
                await asyncio.to_thread(restartable_postgres.start)
                await eventually(lambda: _is(held, http, (200, "")), "an answer", 5.0)
            await eventually(lambda: _holds(routerd), "the ledger holds")


async def _is(load: Load, http: aiohttp.ClientSession, wanted: tuple[int, str]) -> bool:
    return await load.ask(http, "again", chat("m")) == wanted


async def _holds(routerd: Daemon) -> bool:
    return bool((await audited(routerd))["holds"])
