"""What the request path reads: prices, limits, timers, addresses; and the fingerprint that says whether it changed."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from router.config.compile import compile_snapshot
from router.config.snapshot import Snapshot, UnknownPrice
from router.domain.limits import Limits
from router.domain.requests import Api
from router.domain.routes import FallbackReason, Timeouts
from router.domain.usage import Price
from router.providers.simulated.options import FaultKind, SimulateOptions, parse_options
from tests.config.samples import MINIMAL, SECRETS, WHOLE, catalog, loaded


def compiled(folder: Path, text: str, environ: dict[str, str] | None = None) -> Snapshot:
    return compile_snapshot(loaded(folder, text, environ))


def test_the_whole_documented_file_compiles(tmp_path: Path) -> None:
    snapshot = compiled(tmp_path, WHOLE, SECRETS)
    alias = snapshot.aliases["gpt-5-mini"]
    assert [target.id for target in alias.targets] == ["openai/gpt-5-mini", "azure-openai/gpt5mini"]
    assert alias.price == Price(input=250_000_000, output=2_000_000_000, cached_input=25_000_000)
    assert alias.fallbacks == {FallbackReason.DEFAULT: ("claude-haiku",)}
    assert snapshot.providers["openai"].base_url == "https://api.openai.com/v1"
    assert snapshot.providers["openai"].credentials[0].key == "canary-openai"
    assert snapshot.tiers == {"fast": "gpt-5-mini", "smart": "gpt-5"}
    assert snapshot.defaults == {"chat": "gpt-5-mini", "embeddings": "text-embedding-3-small"}
    assert snapshot.rates.key == Limits(1000, 1_000_000, 100)
    assert snapshot.rates.tenant == Limits(parallel=400)
    assert snapshot.unknown_price is UnknownPrice.WARN


def test_no_secret_is_in_what_a_snapshot_shows(tmp_path: Path) -> None:
    text = WHOLE.replace("sqlite:///data/router.db", "postgresql://user:canary-db@h/d")
    text = text.replace('redis:         {url: ""', 'redis:         {url: "redis://:canary-redis@h:6379/0"')
    text = text.replace("headers: {}", "headers: {Authorization: Bearer canary-header}")
    result = loaded(tmp_path, text, SECRETS)
    snapshot = compile_snapshot(result)
    for shown in (snapshot.masked_yaml, repr(snapshot), repr(result), *snapshot.warnings):
        assert "canary" not in shown
        assert "my-secret" not in shown
        assert "hooks.example.com" not in shown
    assert re.search(r"api_key: '?\*\*\*[0-9a-f]{8}", snapshot.masked_yaml)
    assert "Bearer" not in snapshot.masked_yaml


def test_the_fingerprint_ignores_order_comments_and_spelling(tmp_path: Path) -> None:
    one = compiled(tmp_path, "health: {interval: 60s, cooldown: 1m}\n" + catalog("{alias: a, targets: [{provider: demo}]}"))
    other = "# a comment\n" + catalog("{targets: [{weight: '1', provider: demo}], alias: a, fallbacks: []}")
    other += "health: {cooldown: 60, interval: 1m}\n"
    again = compiled(tmp_path, other)
    assert one.fingerprint == again.fingerprint
    assert one == again


def test_the_fingerprint_is_the_same_wherever_a_value_comes_from(tmp_path: Path) -> None:
    written = compiled(tmp_path, MINIMAL + "server: {drain: 5s}")
    assert compiled(tmp_path, MINIMAL, {"ROUTER_SERVER_DRAIN": "5s"}).fingerprint == written.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"OPENAI_API_KEY": "canary-other"},
        {"ROUTER_SECRET": "another-server-secret-0123456789abcdef"},
        {"ROUTER_FORCE_FAILOVER": "openai"},
        {"ROUTER_SERVER_DRAIN": "31s"},
        {"ROUTER_MODEL_CATALOG_0_TARGETS_0_WEIGHT": "81"},
        {"ROUTER_MODEL_CATALOG_0_PRICE_INPUT": "0.250000001"},
    ],
)
def test_any_change_changes_the_fingerprint(tmp_path: Path, change: dict[str, str]) -> None:
    before = compiled(tmp_path, WHOLE, SECRETS).fingerprint
    assert compiled(tmp_path, WHOLE, SECRETS | change).fingerprint != before


def test_the_masked_text_is_yaml_with_amounts_in_usd(tmp_path: Path) -> None:
    shown = yaml.safe_load(compiled(tmp_path, WHOLE, SECRETS).masked_yaml)
    assert shown["model_catalog"][0]["price"]["cached_input"] == "0.025"
    assert shown["bootstrap"]["tenant_budgets"][0]["warning_threshold"] == "0.75"
    assert shown["_effective"]["price_table"].startswith("genai-prices ")


def test_the_files_price_wins_over_the_table_and_a_targets_over_its_alias(tmp_path: Path) -> None:
    text = "providers: {o: {type: openai, api_key: k}, l: {type: vllm, base_url: 'http://h/v1'}}\n"
    text += (
        "model_catalog:\n  - {alias: gpt-5-mini, targets: [{provider: o}, {provider: l, price: {input: 0, output: 0}}]}\n"
    )
    text += "  - {alias: x, targets: [{provider: o, model: gpt-5-mini}], price: {input: 1, output: 2}}\n"
    text += "  - {alias: y, targets: [{provider: l}]}\n"
    aliases = compiled(tmp_path, text).aliases
    listed, own = (target.price for target in aliases["gpt-5-mini"].targets)
    assert listed == Price(input=250_000_000, output=2_000_000_000, cached_input=25_000_000)
    assert own == Price(0, 0)
    assert aliases["gpt-5-mini"].price is None
    assert aliases["x"].targets[0].price == Price(10**9, 2 * 10**9)
    assert aliases["y"].targets[0].price is None


def test_wildcards_stand_apart_longest_prefix_first(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path, catalog(*[f"{{alias: '{name}', targets: [{{provider: demo}}]}}" for name in ("*", "o/*", "o/x*", "a")])
    )
    assert [alias.name for alias in snapshot.wildcards] == ["o/x*", "o/*", "*"]
    assert list(snapshot.aliases) == ["a"]
    assert snapshot.wildcards[0].targets[0].model == ""
    assert snapshot.wildcards[0].targets[0].id == "demo/*"


def test_timers_come_from_alias_provider_and_server_in_that_order(tmp_path: Path) -> None:
    text = "server: {timeouts: {connect: 1s, total: 100s}}\n"
    text += "providers: {demo: {type: simulated, timeouts: {idle: 7s}}}\n"
    text += "model_catalog:\n  - {alias: a, targets: [{provider: demo}]}\n"
    text += "  - {alias: b, targets: [{provider: demo}], timeouts: {total: 9s}}\n"
    snapshot = compiled(tmp_path, text)
    assert snapshot.providers["demo"].timeouts == Timeouts(1, 120, 7, 100)
    assert snapshot.aliases["a"].timeouts is None
    assert snapshot.aliases["b"].timeouts == Timeouts(1, 120, 7, 9)


def test_the_listening_side_is_ready_to_use(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + "server: {listen: '[::1]:0', trusted_proxies: [10.1.2.3/8], body_limit_mb: 1, cors_origins: ['https://a/']}\n"
    )
    server = compiled(tmp_path, text).server
    assert (server.host, server.port, server.body_limit) == ("::1", 0, 2**20)
    assert server.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert server.cors_origins == ("https://a",)


def test_a_dated_azure_version_has_no_responses_route(tmp_path: Path) -> None:
    text = "providers:\n  a: {type: azure-openai, endpoint: 'https://h/', api_key: k}\n"
    text += "  b: {type: azure-openai, endpoint: 'https://h', api_key: k, api_version: v1}\n"
    providers = compiled(tmp_path, text).providers
    assert (providers["a"].base_url, providers["a"].api_version) == ("https://h", "2024-10-21")
    assert Api.RESPONSES not in providers["a"].apis
    assert Api.RESPONSES in providers["b"].apis


def test_what_a_simulated_provider_is_told_is_what_it_understands(tmp_path: Path) -> None:
    text = "providers: {demo: {type: simulated, simulate: {latency: 5ms, seed: 7, models: [m], faults: ["
    text += "{kind: rate_limited, rate: 0.5, retry_after: 2}, {kind: cut_stream, requests: [1, 5-9], after_events: 3}]}}}"
    options = parse_options(compiled(tmp_path, text).providers["demo"].options)
    assert (options.latency, options.seed, options.models) == (0.005, 7, ("m",))
    assert options.tokens_per_second == SimulateOptions().tokens_per_second
    assert options.faults[0].retry_after == "2"
    assert options.faults[1].requests == (1, "5-9")
    assert parse_options({}) == parse_options(compiled(tmp_path, MINIMAL).providers["demo"].options)


def test_every_fault_of_the_simulated_provider_can_be_configured(tmp_path: Path) -> None:
    kinds = ", ".join(f"{{kind: {kind.value}}}" for kind in FaultKind)
    text = f"providers: {{demo: {{type: simulated, simulate: {{faults: [{kinds}]}}}}}}"
    options = parse_options(compiled(tmp_path, text).providers["demo"].options)
    assert [fault.kind for fault in options.faults] == list(FaultKind)


def test_an_unknown_price_is_free_only_where_the_file_says_so(tmp_path: Path) -> None:
    catalog = "model_catalog: [{alias: odd-model, type: chat, targets: [{provider: demo, model: odd-model}]}]\n"
    head = "providers: {demo: {type: simulated}}\n" + catalog
    assert compiled(tmp_path, head).aliases["odd-model"].targets[0].price is None
    free = compiled(tmp_path, head + "pricing: {unknown: free}\n").aliases["odd-model"].targets[0].price
    assert free == Price(0, 0)


def test_ollama_speaks_its_own_api_where_the_file_says_so_and_every_caller_is_translated(tmp_path: Path) -> None:
    text = "providers: {own: {type: ollama, apis: [ollama_chat]}, plain: {type: ollama}}\n"
    text += "model_catalog: [{alias: a, targets: [{provider: own}, {provider: plain}]}]\n"
    own, plain = (compiled(tmp_path, text).providers[name] for name in ("own", "plain"))
    assert own.apis == {Api.OLLAMA_CHAT} and {Api.CHAT, Api.MESSAGES, Api.RESPONSES} <= own.translates
    assert Api.CHAT in plain.apis and Api.OLLAMA_CHAT not in plain.apis and Api.MESSAGES in plain.translates
