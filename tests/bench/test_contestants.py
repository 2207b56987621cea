"""What the contestants are started with, and that the many keys of a run are let in."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import ablation, scale
from bench.arguments import read_arguments
from bench.gateways import Gateway, bare, nginx, nginx_conf
from bench.instructions import lean
from bench.keys import add_keys, key_text
from bench.measure import Rig
from bench.peers import litellm_configuration
from bench.routerd import MODELS, SQLITE, Catalog, Features, configuration, routerd, sqlite
from bench.scenarios import SCENARIOS, Part, Scenario, is_for_direct
from router.config.compile import compile_snapshot
from router.config.load import load
from router.config.snapshot import Snapshot
from router.domain.requests import Api

NEEDS_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the harness pins processes to cores, which needs Linux")


def snapshot(folder: Path, features: Features, catalog: Catalog) -> Snapshot:
    (folder / "router.yaml").write_text(configuration(8080, 9000, (SQLITE, ""), features, catalog))
    loaded = load(folder / "router.yaml", {})
    assert [warning for warning in loaded.warnings if "can be guessed" not in warning] == []
    return compile_snapshot(loaded)


def test_everything_is_on_by_default_and_hard_budgets_can_be_bounded(tmp_path: Path) -> None:
    found = snapshot(tmp_path, Features(), Catalog())
    document = json.loads((tmp_path / "router.yaml").read_text())
    [key], [tenant] = document["bootstrap"]["api_keys"], document["bootstrap"]["tenant_budgets"]
    assert key["budget_usd"] > 0
    assert key["rate_limit"]["requests_per_minute"] > 0
    assert (tenant["mode"], document["observability"]["metrics"]) == ("hard", True)
    assert {name for name in MODELS if found.aliases[name].max_output_tokens} == set(MODELS)


def test_aliases_and_targets_are_as_many_as_asked_for(tmp_path: Path) -> None:
    found = snapshot(tmp_path, Features(), Catalog(aliases=100, targets=10))
    assert len(found.aliases) == 100 + len(MODELS)
    assert len({target.id for target in found.aliases[MODELS[0]].targets}) == 10


def test_every_variant_of_the_ablation_is_a_good_configuration_of_its_own(tmp_path: Path) -> None:
    texts = set()
    for features in ablation.FEATURES.values():
        snapshot(tmp_path, features, Catalog())
        texts.add((tmp_path / "router.yaml").read_text() + str(features.log))
    assert len(texts) == len(ablation.FEATURES)


@pytest.mark.parametrize(("spoken", "api"), [("chat", "chat"), ("messages", "messages"), ("responses", "responses")])
def test_targets_speak_what_is_asked_of_them(tmp_path: Path, spoken: str, api: str) -> None:
    [provider] = snapshot(tmp_path, Features(), Catalog(spoken=spoken)).providers.values()
    assert api in provider.apis and (spoken == "chat" or Api.CHAT in provider.translates)


def test_scale_goes_to_a_hundred_thousand_keys_and_a_thousand_aliases() -> None:
    names = {variant.name for variant in scale.variants(sqlite)}
    assert {"10 keys", "100,000 keys", "1 alias", "1,000 aliases", "1 target"} <= names


def test_scenarios_have_titles_of_their_own_and_the_provider_alone_stands_where_something_is_added() -> None:
    assert len({scenario.title for scenario in SCENARIOS}) == len(SCENARIOS)
    assert {scenario.group for scenario in SCENARIOS} <= set(read_arguments([]).groups)
    assert [len(scenario.parts) for scenario in SCENARIOS if is_for_direct(scenario)] == [1, 1]


def test_litellm_gets_every_model() -> None:
    assert [each["model_name"] for each in json.loads(litellm_configuration(9000))["model_list"]] == list(MODELS)


@NEEDS_LINUX
@pytest.mark.process
@pytest.mark.blocking
async def test_nginx_relays_streams_and_answers() -> None:
    gateway = nginx()
    if gateway is None:
        assert "listen 127.0.0.1:8080" in nginx_conf(8080, 9000)
        pytest.skip("nginx is not installed")
    assert shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    scenario = Scenario("json", "both", (Part(2), Part(2, ("gpt-4o-mini-paced",), stream=True)), ("cpu_us",))
    async with Rig.standing(0.1) as rig, rig.running(gateway) as running:
        found = await rig.sample(running, scenario)
    assert found.requests_per_s > 0


@NEEDS_LINUX
@pytest.mark.process
@pytest.mark.blocking
@pytest.mark.parametrize("gateway", [bare(), lean()], ids=["bare", "lean"])
async def test_the_yardsticks_relay_streams_and_answers(gateway: Gateway) -> None:
    scenario = Scenario("json", "both", (Part(2), Part(2, ("gpt-4o-mini-paced",), stream=True)), ("cpu_us",))
    async with Rig.standing(0.1) as rig, rig.running(gateway) as running:
        found = await rig.sample(running, scenario)
    assert found.requests_per_s > 0


@NEEDS_LINUX
@pytest.mark.process
@pytest.mark.blocking
async def test_keys_written_past_the_daemon_are_let_in() -> None:
    """A key that is refused would be a LoadFailure."""
    scenario = Scenario("json", "keys", (Part(4),), ("cpu_us", "lag_p99_ms"))
    async with Rig.standing(0.2) as rig:
        gateway = replace(routerd(), keys=tuple(map(key_text, range(50))))
        async with rig.running(gateway) as running:
            await add_keys(running.folder, 50)
            found = await rig.sample(running, scenario)
    assert found.requests_per_s > 0
    assert found.lag
