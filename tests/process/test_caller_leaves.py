"""When the caller leaves, the provider is let go within a second and what was produced is in the ledger, never zero."""

from collections.abc import Callable, Iterator

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings
from tests.wire import Wire, head

pytestmark = pytest.mark.process

ENDINGS: dict[str, Callable[[Wire], None]] = {"fin": lambda wire: wire.writer.close(), "rst": lambda wire: wire.reset()}
how = pytest.mark.parametrize("ending", ENDINGS)


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "40") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    drained = sim.provider | {"bills_on_cancel": True}
    with Daemon(module_folder, settings({"sim": sim.provider, "drained": drained}, {"m": "sim", "d": "drained"})) as running:
        yield running


@how
async def test_before_its_body_is_complete_nothing_is_sent_and_nothing_recorded(
    routerd: Daemon, sim: Simulator, ending: str
) -> None:
    received, recorded = len(sim.log()), len(routerd.ledger())
    async with Wire(routerd) as wire:
        wire.send(
            head("POST", "/v1/chat/completions", {"Content-Type": "application/json", "Content-Length": 1000}) + b'{"model"'
        )
        await wire.writer.drain()
        ENDINGS[ending](wire)
    async with routerd.client() as http:
        answer = await http.post(
            "/v1/chat/completions", json=chat("m", "tokens_per_second=0"), headers={"X-Request-Id": f"after-{ending}"}
        )
        assert answer.status == 200
    await routerd.entry(f"after-{ending}")
    assert (len(sim.log(event="received")), len(routerd.ledger())) == (received // 2 + 1, recorded + 1)


@how
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_before_the_head_of_the_answer(routerd: Daemon, sim: Simulator, ending: str, stream: bool) -> None:
    case = f"head-{ending}-{stream}"
    async with Wire(routerd) as wire:
        wire.post("/v1/chat/completions", chat("m", "timeout", case=case, stream=stream), X_Request_Id=case)
        await sim.logged("received", case=case)
        ENDINGS[ending](wire)
        await sim.logged("cancelled", 1.0, case=case)
    entry = await routerd.entry(case)
    assert (entry["status"], entry["outcome"], entry["estimated"]) == (499, "cancelled", 1)
    assert entry["input_tokens"] > 0
    assert entry["cost_nano"] > 0


@how
async def test_in_the_middle_of_a_stream_what_came_is_metered(routerd: Daemon, sim: Simulator, ending: str) -> None:
    case = f"mid-{ending}"
    async with Wire(routerd) as wire:
        wire.post("/v1/chat/completions", chat("m", case=case, stream=True, max_tokens=400), X_Request_Id=case)
        for _ in range(22):
            await wire.until(b"\n\n")
        ENDINGS[ending](wire)
        end = await sim.logged("cancelled", 1.0, case=case)
    entry = await routerd.entry(case)
    assert (entry["status"], entry["outcome"], entry["estimated"]) == (499, "cancelled", 1)
    assert 15 <= end["tokens_sent"] < 60
    assert abs(entry["output_tokens"] - end["tokens_sent"]) <= 3


@how
async def test_while_a_json_answer_is_made(routerd: Daemon, sim: Simulator, ending: str) -> None:
    case = f"json-{ending}"
    async with Wire(routerd) as wire:
        wire.post("/v1/chat/completions", chat("m", "silence", case=case), X_Request_Id=case)
        await sim.logged("received", case=case)
        ENDINGS[ending](wire)
        await sim.logged("cancelled", 1.0, case=case)
    entry = await routerd.entry(case)
    assert (entry["status"], entry["outcome"], entry["estimated"]) == (499, "cancelled", 1)
    assert entry["cost_nano"] > 0


async def test_a_provider_that_bills_anyway_is_read_to_its_end_for_the_true_usage(routerd: Daemon, sim: Simulator) -> None:
    async with Wire(routerd) as wire:
        wire.post("/v1/chat/completions", chat("d", case="drained", stream=True, max_tokens=30), X_Request_Id="drained")
        await wire.until(b"\n\n")
        await wire.until(b"\n\n")
        wire.reset()
    await sim.logged("finished", case="drained")
    entry = await routerd.entry("drained")
    assert (entry["status"], entry["output_tokens"], entry["estimated"]) == (499, 30, 0)
