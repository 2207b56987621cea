"""The documented file loads as it stands; values come from where they should; ten mistakes are ten located errors."""

from decimal import Decimal
from pathlib import Path

import pytest

from router.config.load import load
from router.config.problems import ConfigError
from router.domain.routes import HealthMode
from tests.config.samples import MINIMAL, SECRETS, WHOLE, loaded, only, problems, write

TEN_MISTAKES = """\
server:
  listen: "127.0.0.1"
  wrokers: 2
  timeouts: {connect: soon}
providers:
  openai: {type: opnai}
  demo: {type: simulated}
model_catalog:
  - alias: a
    targets:
      - {provider: dmeo}
      - {provider: demo, weight: -1}
    fallbacks: [b]
tiers: {fast: aa}
rate_limits: {requests_per_minute: many}
bootstrap:
  api_keys:
    - {tenant: nobody, name: x, prefix: x, secret: long-enough-for-all}
"""


def test_the_whole_documented_file_loads(tmp_path: Path) -> None:
    config = loaded(tmp_path, WHOLE, SECRETS).config
    assert config.server.timeouts.total == 900.0
    assert config.admin.signup == "off"
    assert config.admin.session.access_token_ttl == 900.0
    assert config.budgets is not None
    assert config.budgets.default_usd == 100 * 10**9
    assert config.bootstrap.tenant_budgets[0].warning_threshold == 750_000
    assert config.model_catalog[0].price is not None
    assert config.model_catalog[0].price.cached_input == int(Decimal("0.025") * 10**9)
    assert config.model_catalog[0].fallbacks.default == ("claude-haiku",)


def test_what_the_file_leaves_out_has_the_documented_default(tmp_path: Path) -> None:
    whole, minimal = loaded(tmp_path, WHOLE, SECRETS).config, loaded(tmp_path, MINIMAL).config
    for section in ("database", "redis", "journal", "observability", "health", "smtp", "pricing", "auth", "retention"):
        assert getattr(whole, section) == getattr(minimal, section), section
    assert minimal.server == whole.server.model_copy(update={"secret": ""})
    assert minimal.budgets is None
    assert minimal.rate_limits.requests_per_minute is None


def test_ten_mistakes_are_ten_located_errors(tmp_path: Path) -> None:
    found = problems(tmp_path, TEN_MISTAKES)
    assert [(p.line, p.column, p.key) for p in found] == [
        (2, 11, "server.listen"),
        (3, 3, "server.wrokers"),
        (4, 23, "server.timeouts.connect"),
        (6, 18, "providers.openai.type"),
        (11, 20, "model_catalog[0].targets[0].provider"),
        (12, 34, "model_catalog[0].targets[1].weight"),
        (13, 17, "fallbacks of a"),
        (14, 15, "tiers.fast"),
        (15, 36, "rate_limits.requests_per_minute"),
        (18, 16, "bootstrap.api_keys[0].tenant"),
    ]


def test_an_error_names_place_key_found_expected_and_the_nearest_name(tmp_path: Path) -> None:
    problem = next(p for p in problems(tmp_path, TEN_MISTAKES) if p.key.endswith("[0].provider"))
    assert problem.render() == (
        'router.yaml:11:20: model_catalog[0].targets[0].provider: found "dmeo"; '
        'expected one of demo, openai. Did you mean "demo"?'
    )
    assert problem.as_dict() == {
        "file": "router.yaml",
        "line": 11,
        "column": 20,
        "key": "model_catalog[0].targets[0].provider",
        "found": '"dmeo"',
        "expected": "one of demo, openai",
        "hint": 'Did you mean "demo"?',
    }


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("90m", 5400), ("1h30m", 5400), ("2", 2), ("1.5s", 1.5), ("7d", 604800)],
)
def test_durations_are_read_from_their_text(tmp_path: Path, written: str, seconds: float) -> None:
    assert loaded(tmp_path, MINIMAL + f"health: {{cooldown: {written}}}").config.health.cooldown == seconds


@pytest.mark.parametrize("written", ["5 s", "-1", "1e3", "5x", "s", "nan", "[5]", "99999d"])
def test_what_is_no_duration_is_refused(tmp_path: Path, written: str) -> None:
    assert only(problems(tmp_path, MINIMAL + f"health: {{cooldown: {written}}}")).key == "health.cooldown"


@pytest.mark.parametrize("written", ["0.1", "0.1000000000", "1e-1"])
def test_money_never_passes_through_a_float(tmp_path: Path, written: str) -> None:
    config = loaded(tmp_path, MINIMAL + f"budgets: {{default_usd: {written}}}").config
    assert config.budgets is not None
    assert config.budgets.default_usd == 100_000_000


@pytest.mark.parametrize("written", ["-1", "0.0000000001", "nan", "inf", "ten", "1e30", "1e999999"])
def test_what_is_no_amount_is_refused(tmp_path: Path, written: str) -> None:
    assert only(problems(tmp_path, MINIMAL + f"budgets: {{default_usd: {written}}}")).key == "budgets.default_usd"


@pytest.mark.parametrize("word", ["off", "false", "no", '"off"', "OFF"])
def test_off_is_off_whatever_yaml_makes_of_it(tmp_path: Path, word: str) -> None:
    config = loaded(tmp_path, MINIMAL + f"admin: {{signup: {word}}}\nhealth: {{mode: {word}}}").config
    assert config.admin.signup == "off"
    assert config.health.mode is HealthMode.OFF


def test_a_null_means_not_set(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL + "server:\nhealth: {interval: null}\nsmtp: {from: ~}\nbudgets: null").config
    assert config.health.interval == 60.0
    assert config.smtp.sender == ""
    assert config.budgets is None


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    origins = loaded(tmp_path, MINIMAL, {"ROUTER_SERVER_DRAIN": "5s"}).origins
    assert origins["providers.demo.type"] == "router.yaml:2:16"
    assert origins["server.drain"] == "environment ROUTER_SERVER_DRAIN"
    assert "health.interval" not in origins


def test_locked_names_must_be_keys_of_their_mapping(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL + "health: {locked: [mode]}").config.health.locked == ("mode",)
    assert only(problems(tmp_path, MINIMAL + "health: {locked: [moed]}")).key == "health"


def test_a_missing_file_is_one_plain_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"router\.yaml: found no usable file: there is no such file"):
        load(tmp_path / "router.yaml", {})


def test_the_shipped_example_loads_with_one_short_warning() -> None:
    example = load(Path(__file__).parents[2] / "router.example.yaml", {})
    assert len(example.warnings) == 1
    assert "a secret of 9 characters" in example.warnings[0]


def test_a_warning_for_a_key_without_effect_appears_only_when_it_is_set(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL + "redis: {url: ''}\nserver: {public_url: ''}").warnings == ()
    warnings = loaded(tmp_path, MINIMAL + "redis: {url: 'redis://h/0'}\nserver: {public_url: 'https://h'}").warnings
    assert warnings == ("router.yaml:7:10: server.public_url: accepted, not in force yet: no link is made yet",)


def test_an_unreadable_variable_is_one_error_not_two(tmp_path: Path) -> None:
    path = write(tmp_path, "providers: {o: {type: openai, api_key: '${MISSING}'}}")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [p.found for p in caught.value.problems] == ["${MISSING}, which is not set"]
