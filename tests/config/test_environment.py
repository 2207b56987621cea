"""Variables, files, `.env`, includes and ROUTER_* overrides: who wins, and what is said when they cannot."""

from pathlib import Path

import pytest

from tests.config.samples import MINIMAL, loaded, only, problems, write


def test_variables_are_filled_in_after_parsing(tmp_path: Path) -> None:
    text = MINIMAL + 'server: {listen: "${HOST:-127.0.0.1}:${PORT_NUMBER}", public_models: "${PUBLIC}"}'
    config = loaded(tmp_path, text, {"PORT_NUMBER": "9", "PUBLIC": "yes", "HOST": ""}).config
    assert config.server.listen == "127.0.0.1:9"
    assert config.server.public_models is True


def test_what_a_variable_holds_never_becomes_yaml(tmp_path: Path) -> None:
    text = "providers: {o: {type: openai, api_key: '${KEY}'}}"
    assert loaded(tmp_path, text, {"KEY": "a, type: simulated}\nx: ${HOME}"}).config.providers["o"].api_key == (
        "a, type: simulated}\nx: ${HOME}"
    )


def test_two_dollars_stand_for_a_literal_reference(tmp_path: Path) -> None:
    text = MINIMAL + "observability: {metrics_token: 'a$${B}c'}"
    assert loaded(tmp_path, text).config.observability.metrics_token == "a${B}c"


def test_a_file_reference_is_read_beside_the_configuration_and_watched(tmp_path: Path) -> None:
    write(tmp_path, "from-file\n", "keys/openai")
    result = loaded(tmp_path, "providers: {o: {type: openai, api_key: '${file:keys/openai}'}}")
    assert result.config.providers["o"].api_key == "from-file"
    assert tmp_path / "keys/openai" in result.files


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("${NOPE}", "${NOPE}, which is not set"),
        ("${file:nope}", "${file:nope}: there is no such file"),
        ("${file:.}", "${file:.}: it is not a regular file"),
        ("${1x}", "a malformed ${...}"),
        ("${open", "a malformed ${...}"),
        ("${}", "a malformed ${...}"),
    ],
)
def test_a_reference_that_cannot_be_filled_is_an_error(tmp_path: Path, value: str, found: str) -> None:
    assert only(problems(tmp_path, f"providers: {{o: {{type: openai, api_key: '{value}'}}}}")).found == found


def test_a_dotenv_file_counts_and_the_environment_beats_it(tmp_path: Path) -> None:
    write(tmp_path, "# keys\nexport A='from dotenv' # why\nB=\"both\"\nROUTER_SERVER_DRAIN=7s # seconds\n", ".env")
    text = "providers: {o: {type: openai, api_key: '${A}'}, p: {type: openai, api_key: '${B}'}}"
    config = loaded(tmp_path, text, {"B": "from environment"}).config
    assert config.providers["o"].api_key == "from dotenv"
    assert config.providers["p"].api_key == "from environment"
    assert config.server.drain == 7.0


def test_a_line_of_dotenv_that_sets_nothing_is_located_without_its_text(tmp_path: Path) -> None:
    write(tmp_path, "A=1\nsk-canary\n", ".env")
    problem = only(problems(tmp_path, MINIMAL))
    assert (problem.file, problem.line) == (".env", 2)
    assert "canary" not in problem.render()


def test_includes_merge_maps_and_lists_and_keep_their_places(tmp_path: Path) -> None:
    write(tmp_path, "model_catalog:\n  - {alias: b, targets: [{provider: other}]}\n", "conf.d/10.yaml")
    write(tmp_path, "providers: {other: {type: simulated}}\nhealth: {mode: of}\n", "conf.d/20.yaml")
    problem = only(problems(tmp_path, "include: ['conf.d/*.yaml']\n" + MINIMAL))
    assert (problem.file, problem.line, problem.hint) == ("conf.d/20.yaml", 2, 'Did you mean "off"?')
    write(tmp_path, "providers: {other: {type: simulated}}\n", "conf.d/20.yaml")
    config = loaded(tmp_path, "include: ['conf.d/*.yaml']\n" + MINIMAL).config
    assert [alias.alias for alias in config.model_catalog] == ["a", "b"]
    assert sorted(config.providers) == ["demo", "other"]


def test_a_value_set_in_two_files_names_both(tmp_path: Path) -> None:
    write(tmp_path, "health: {mode: off}\n", "more.yaml")
    problem = only(problems(tmp_path, "include: [more.yaml]\n" + MINIMAL + "health: {mode: models}\n"))
    assert problem.file == "more.yaml"
    assert problem.expected == "one; the first is at router.yaml:7:10"


def test_a_named_include_must_exist_and_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    assert "does not exist" in only(problems(tmp_path, "include: [gone.yaml]\n" + MINIMAL)).found
    assert problems(tmp_path, "include: ['gone/*.yaml']\n" + MINIMAL) == ()


def test_included_files_do_not_include(tmp_path: Path) -> None:
    write(tmp_path, "include: [x.yaml]\n", "more.yaml")
    assert only(problems(tmp_path, "include: [more.yaml]\n" + MINIMAL)).file == "more.yaml"


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("ROUTER_SERVER_LISTEN", "0.0.0.0:9", "server.listen"),
        ("ROUTER_DB_URL", "postgres://u:p@h/d?sslmode=disable", "database.url"),
        ("ROUTER_DATABASE_URL", "sqlite:///x.db", "database.url"),
        ("ROUTER_REDIS_URL", "redis://h:6379/0", "redis.url"),
        ("ROUTER_ADMIN_SESSION_JWT_SECRET", "s", "admin.session.jwt_secret"),
        ("ROUTER_PROVIDERS_AZURE_OPENAI_API_KEY", "k2", "providers.azure-openai.api_key"),
        ("ROUTER_MODEL_CATALOG_0_TARGETS_0_WEIGHT", "7", "model_catalog[0].targets[0].weight"),
        ("ROUTER_TIERS_FAST", "a", "tiers.fast"),
        ("ROUTER_DEFAULTS_CHAT", "a", "defaults.chat"),
        ("ROUTER_RATE_LIMITS_REQUESTS_PER_MINUTE", "5", "rate_limits.requests_per_minute"),
        ("ROUTER_SMTP_FROM", "a@b", "smtp.from"),
        ("PORT", "8123", "server.listen"),
    ],
)
def test_a_variable_reaches_its_leaf(tmp_path: Path, name: str, value: str, key: str) -> None:
    text = "providers: {azure-openai: {type: azure-openai, endpoint: 'https://x', api_key: k}, demo: {type: simulated}}\n"
    text += "model_catalog: [{alias: a, targets: [{provider: demo}]}]\nserver: {secret: '" + "s" * 32 + "'}\n"
    assert loaded(tmp_path, text, {name: value}).origins[key] == f"environment {name}"


def test_lists_are_written_with_commas(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL, {"ROUTER_SERVER_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).config
    assert config.server.trusted_proxies == ("10.0.0.0/8", "::1/128")


def test_port_listens_everywhere_unless_the_listener_is_named(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL, {"PORT": "81"}).config.server.listen == "0.0.0.0:81"
    environ = {"PORT": "81", "ROUTER_SERVER_LISTEN": "127.0.0.1:82"}
    assert loaded(tmp_path, MINIMAL, environ).config.server.listen == "127.0.0.1:82"


def test_an_unknown_router_variable_is_a_warning(tmp_path: Path) -> None:
    environ = {
        "ROUTER_SERVICE_HOST": "10.0.0.1",
        "ROUTER_CONFIG_FILE": "x",
        "ROUTER_DBURL": "y",
        "ROUTER_X": "z",
        "HOME": "/",
    }
    result = loaded(tmp_path, MINIMAL + "observability: {metrics_token: '${ROUTER_X}'}", environ)
    assert len(result.warnings) == 2
    assert 'ROUTER_DBURL: names no key of the configuration; ignored. Did you mean "ROUTER_DB_URL"?' in result.warnings[0]
    assert "ROUTER_SERVICE_HOST" in result.warnings[1]


def test_a_bad_value_names_the_variable_and_never_shows_it(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, MINIMAL, {"ROUTER_HEALTH_MODE": "canary"}))
    assert problem.render().startswith("environment ROUTER_HEALTH_MODE: health.mode: found")
    assert "canary" not in problem.render()


def test_a_locked_key_is_the_files_alone(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, MINIMAL + "health: {locked: [mode]}", {"ROUTER_HEALTH_MODE": "off"}))
    assert problem.found == "a key the file marks as locked"


def test_forced_failures_name_what_exists(tmp_path: Path) -> None:
    result = loaded(tmp_path, MINIMAL, {"ROUTER_FORCE_FAILOVER": "demo, dmeo"})
    assert result.force_failover == {"demo"}
    assert 'Did you mean "demo"?' in result.warnings[0]
    assert "a rehearsal" in result.warnings[1]
