"""The last of a budget is spent by tokens, not by bytes, where a provider's tokenizer is known."""

import time

import pytest

from tests.daemon import Daemon, Entry, Simulator, Workplace, chat, settings
from tests.process.money_load import audited, figures

pytestmark = pytest.mark.process

# 18,000 bytes, 9,001 tokens; the simulated provider, whose tokenizer is its own, bills a quarter of the bytes.
TEXT = "one 7 " * 3000
PRICE = {"input": 1, "output": 2}
BUDGET_USD = 0.017  # room for its tokens, for its bytes not once


def config(sim: Simulator, provider_type: str) -> Entry:
    provider = sim.provider | {"type": provider_type}
    catalog = {"m": {"targets": [{"provider": "sim", "model": "gpt-4o"}], "price": PRICE}}
    budgets = [{"tenant": "demo", "budget_usd": BUDGET_USD}]
    given = settings({"sim": provider}, catalog)
    given["bootstrap"]["tenant_budgets"] = budgets
    return given


def question() -> Entry:
    return chat("m", "tokens_per_second=0", messages=[{"role": "user", "content": TEXT}])


async def statuses(routerd: Daemon, most: int) -> list[tuple[int, float]]:
    """Ask until refused; each answer's status and the seconds it took."""
    found = []
    async with routerd.client() as http:
        for _ in range(most):
            began = time.perf_counter()
            answer = await http.post("/v1/chat/completions", json=question())
            found.append((answer.status, time.perf_counter() - began))
            if answer.status != 200:
                break
    return found


async def test_a_request_that_has_no_room_by_its_bytes_is_sent_when_its_tokens_have(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, config(sim, "openai")) as routerd:
        before = routerd.rss_bytes
        asked = await statuses(routerd, 10)
        after = routerd.rss_bytes
        report = await audited(routerd)
    codes = [status for status, _ in asked]
    assert codes[:2] == [200, 200] and codes[-1] == 402, codes
    assert report["holds"] is True
    assert report["overruns"] == []
    figures(f"first count {asked[0][1]:.2f} s, second {asked[1][1] * 1000:.1f} ms, {(after - before) >> 20} MB more")


async def test_a_server_that_only_calls_its_model_so_is_held_at_the_bytes(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, config(sim, "openai-compatible")) as routerd:
        assert [status for status, _ in await statuses(routerd, 1)] == [402]
        assert sim.log(event="received") == []
