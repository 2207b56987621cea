"""What one section says about another must be true: every class of mistake, with its place and the right word."""

import subprocess
from pathlib import Path

import pytest

from router.config.check_catalog import find_cycle
from tests.config.samples import loaded, only, problems, write

DEMO = "providers: {demo: {type: simulated}, other: {type: simulated}}\n"
A = "model_catalog: [{alias: a, targets: [{provider: demo}]}]\n"
SECRET_32 = "0123456789abcdef0123456789abcdef"


def _catalog(*aliases: str) -> str:
    return DEMO + "model_catalog:\n" + "".join(f"  - {alias}\n" for alias in aliases)


def _bootstrap(text: str) -> str:
    return DEMO + A + "bootstrap:\n  tenants: [{name: t}]\n" + text


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        (_catalog("{alias: a, targets: []}"), "model_catalog[0].targets", "an empty list", "at least 1 entry"),
        (_catalog("{alias: a}"), "model_catalog[0].targets", "nothing", "the key targets"),
        (_catalog("{targets: [{provider: demo}]}"), "model_catalog[0].alias", "nothing", "the key alias"),
        (_catalog("{alias: a, targets: [{provider: demo}]}", "{alias: a, targets: [{provider: demo}]}"), "model_catalog[1].alias", '"a" a second', "first is at router.yaml:3:13"),
        (_catalog("{alias: a, targets: [{provider: demo, weight: 0}, {provider: other, weight: 0}]}"), "model_catalog[0].targets", "all 0", "above 0"),
        (_catalog("{alias: a, targets: [{provider: demo}, {provider: demo}]}"), "model_catalog[0].targets[1]", "second time", "one target"),
        (_catalog("{alias: 'a*b', targets: [{provider: demo}]}"), "model_catalog[0].alias", '"a*b"', "last character"),
        (_catalog("{alias: a, strategy: random, targets: [{provider: demo}]}"), "model_catalog[0].strategy", '"random"', "one of cost"),
        (_catalog("{alias: a, targets: [{provider: demo}], price: {input: 1}}"), "model_catalog[0].price", "nothing", "the key output"),
        (_catalog("{alias: a, targets: [{provider: demo}], fallbacks: {on_rate_limit: []}}"), "model_catalog[0].fallbacks.on_rate_limit", "unknown key", "on_rate_limited"),
        (_catalog("{alias: a, targets: [{provider: demo}], fallbacks: [a]}"), "fallbacks of a", "a circle: a -> a", "an end"),
        (_catalog("{alias: a, targets: [{provider: demo}], fallbacks: {on_budget: [e]}}", "{alias: e, type: embeddings, targets: [{provider: demo}]}"), "fallbacks of a", '"e" of type embeddings', "type chat"),
        (DEMO + A + "tiers: {fast: aa}\n", "tiers.fast", '"aa"', "one of a"),
        (DEMO + A + "defaults: {embeddings: a}\n", "defaults.embeddings", '"a" of type chat', "type embeddings"),
        (DEMO + A + "defaults: {caht: a}\n", "defaults.caht", 'the unknown key "caht"', "one of chat"),
        ("providers: {p: {}}\n", "providers.p.type", "nothing", "the key type"),
        ("providers: {p: {type: openai}}\n", "providers.p", "nothing", "api_key"),
        ("providers: {p: {type: openai, api_key: ''}}\n", "providers.p", "an empty credential", "api_key"),
        ("providers: {p: {type: openai, api_key: k, api_keys: [{key: l}]}}\n", "providers.p", "both", "one of the two"),
        ("providers: {p: {type: openai-compatible}}\n", "providers.p", "nothing", "base_url"),
        ("providers: {p: {type: azure-openai, api_key: k}}\n", "providers.p", "nothing", "endpoint"),
        ("providers: {p: {type: simulated, base_url: 'http://h'}}\n", "providers.p", "the key base_url", "one of apis"),
        ("providers: {p: {type: groq, api_key: k, apis: [chat, moderations]}}\n", "providers.p.apis", '"moderations"', "one of chat"),
        ("providers: {p: {type: openai-compatible, base_url: 'ftp://h'}}\n", "providers.p.base_url", '"ftp://h"', "http://"),
        ("providers: {p: {type: openai-compatible, base_url: 'http://u:canary@h'}}\n", "providers.p.base_url", "***", "without user"),
        ("providers: {p: {type: openai-compatible, base_url: 'http://h', ca_file: nope.pem}}\n", "providers.p.ca_file", "no such file", "PEM"),
        ("providers: {p: {type: openai-compatible, base_url: 'http://h', headers: {'a b': x}}}\n", "providers.p.headers", "a mapping", "names of HTTP headers"),
        ("providers: {p: {type: simulated, simulate: {faults: [{kind: rate_limit}]}}}\n", "providers.p.simulate.faults[0].kind", '"rate_limit"', "rate_limited"),
        ("providers: {p: {type: groq, api_key: k}}\nmodel_catalog: [{alias: a, type: embeddings, targets: [{provider: p}]}]\n", "model_catalog[0].targets[0].provider", '"p", which serves chat', "embeddings"),
        (_bootstrap("  api_keys: [{tenant: u, name: n, prefix: p, secret: 0123456789}]\n"), "bootstrap.api_keys[0].tenant", '"u"', "one of t"),
        (_bootstrap("  api_keys: [{tenant: t, name: n, prefix: 'p.q', secret: 0123456789}]\n"), "bootstrap.api_keys[0].prefix", '"p.q"', "1 to 32"),
        (_bootstrap("  api_keys: [{tenant: t, name: n, prefix: p, secret: canary}]\n"), "bootstrap.api_keys[0].secret", "***", "at least 8"),
        (_bootstrap("  api_keys: [{tenant: t, name: n, prefix: p, secret: 'can ary can ary'}]\n"), "bootstrap.api_keys[0].secret", "***", "without spaces"),
        (_bootstrap("  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, expires: soon}]\n"), "bootstrap.api_keys[0].expires", '"soon"', "2027-01-31"),
        (_bootstrap("  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, scopes: [chta]}]\n"), "bootstrap.api_keys[0].scopes[0]", '"chta"', "one of audio"),
        (_bootstrap("  memberships: [{tenant: t, email: a@b.c, role: owner}]\n"), "bootstrap.memberships[0].email", '"a@b.c"', "declares none"),
        (_bootstrap("  tenant_limits: [{tenant: t, limits: {parallel: 5}}]\n"), "bootstrap.tenant_limits[0].limits.parallel", "unknown key", "parallel_requests"),
        (_bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1, refresh_schedule: rolling_0d}]\n"), "bootstrap.tenant_budgets[0].refresh_schedule", '"rolling_0d"', "rolling_30d"),
        (_bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1, timezone: Mars}]\n"), "bootstrap.tenant_budgets[0].timezone", '"Mars"', "time zone"),
        (_bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1, timezone: ../../etc/passwd}]\n"), "bootstrap.tenant_budgets[0].timezone", "passwd", "time zone"),
        (DEMO + A + "server: {listen: 'localhost'}\n", "server.listen", '"localhost"', "127.0.0.1:8080"),
        (DEMO + A + "server: {listen: 'h:99999'}\n", "server.listen", '"h:99999"', "a port"),
        (DEMO + A + "server: {trusted_proxies: [10.0.0.0/33]}\n", "server.trusted_proxies[0]", '"10.0.0.0/33"', "10.0.0.0/8"),
        (DEMO + A + "server: {secret: canary}\n", "server.secret", "*** (6 bytes)", "at least 32 bytes"),
        (DEMO + A + "server: {tls: {cert: c.pem}}\n", "server.tls.key", "nothing", "go together"),
        (DEMO + A + "server: {tls: {cert: c.pem, key: k.pem}}\n", "server.tls.cert", "no such file", "PEM"),
        (DEMO + A + "server: {public_models: maybe}\n", "server.public_models", '"maybe"', "true or false"),
        (DEMO + A + "server: {body_limit_mb: 1.5}\n", "server.body_limit_mb", '"1.5"', "a whole number"),
        (DEMO + A + "server: [a]\n", "server", "a list", "a mapping"),
        (DEMO + A + "server: x\n", "server", '"x"', "a mapping"),
        (DEMO + A + "database: {url: 'mysql://u:canary@h/d'}\n", "database.url", "***", "sqlite://"),
        (DEMO + A + "database: {url: 'postgres://u:canary@h/d'}\n", "server.secret", "nothing", "PostgreSQL"),
        (DEMO + A + "redis: {url: 'http://h'}\n", "redis.url", '"http://h"', "redis://"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_located_error(tmp_path: Path, text: str, key: str, found: str, expected: str) -> None:
    problem = only(problems(tmp_path, text))
    assert problem.key == key
    assert found in problem.found, problem.render()
    assert expected in problem.expected, problem.render()
    assert problem.line > 0
    assert "canary" not in problem.render()


def test_an_azure_target_names_its_deployment_only_on_the_dated_route(tmp_path: Path) -> None:
    text = "providers: {z: {type: azure-openai, endpoint: 'https://h', api_key: k%s}}\n"
    text += "model_catalog: [{alias: a, targets: [{provider: z, model: m}]}]\n"
    assert "deployment" in only(problems(tmp_path, text % "")).expected
    assert problems(tmp_path, text % ", api_version: v1") == ()
    assert problems(tmp_path, text % ", api_version: preview") == ()


def test_a_secret_of_32_bytes_is_enough_for_postgresql(tmp_path: Path) -> None:
    assert problems(tmp_path, DEMO + A + f"server: {{secret: {SECRET_32}}}\ndatabase: {{url: 'postgresql://u@h/d'}}\n") == ()


def test_tiers_and_defaults_may_name_what_a_wildcard_reaches(tmp_path: Path) -> None:
    text = _catalog("{alias: 'openai/*', targets: [{provider: demo}]}") + "defaults: {chat: openai/gpt-5}\n"
    assert problems(tmp_path, text) == ()


def test_a_long_circle_of_fallbacks_is_printed(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    aliases = [f"{{alias: {n}, targets: [{{provider: demo}}], fallbacks: [{m}]}}" for n, m in zip(names, ["b", "c", "d", "b"], strict=True)]
    assert only(problems(tmp_path, _catalog(*aliases))).found == "a circle: b -> c -> d -> b"


def test_a_diamond_of_fallbacks_is_no_circle() -> None:
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []


def test_a_chain_longer_than_the_stack_is_walked() -> None:
    chain = {str(n): [str(n + 1)] for n in range(20_000)}
    assert find_cycle(chain) == []
    assert len(find_cycle(chain | {"20000": ["0"]})) == 20_002


def test_prefixes_and_names_are_unique(tmp_path: Path) -> None:
    key = "{tenant: t, name: n, prefix: p, secret: 0123456789012345678901}"
    problem = only(problems(tmp_path, _bootstrap(f"  api_keys: [{key}, {key}]\n")))
    assert problem.expected.startswith("each prefix once; the first is at router.yaml:5:")


def test_a_pattern_that_reaches_nothing_is_a_warning(tmp_path: Path) -> None:
    result = loaded(tmp_path, DEMO + A + "bootstrap: {tenants: [{name: t, models: ['*', a, ab, 'x/*']}]}\n")
    assert ["names no alias" in warning for warning in result.warnings] == [True, True]


def test_files_that_are_no_pair_are_refused_and_a_pair_is_accepted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
            + ["-subj", "/CN=localhost", "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"],
            check=True,
            capture_output=True,
        )
    text = DEMO + A + "server: {tls: {cert: one.pem, key: %s.key}}\n"
    assert problems(tmp_path, text % "one") == ()
    assert only(problems(tmp_path, text % "two")).found == "files that are no pair"
    ca = "providers: {p: {type: openai-compatible, base_url: 'https://h', ca_file: %s}}\n"
    assert problems(tmp_path, ca % "one.pem") == ()
    write(tmp_path, "nothing here\n", "empty.pem")
    assert "holds no certificate" in only(problems(tmp_path, ca % "empty.pem")).found
