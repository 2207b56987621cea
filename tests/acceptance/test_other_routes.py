"""Embeddings, models, health, limits and running it, as the first users type them."""

import json
import subprocess

import pytest

from tests.acceptance.conftest import EXAMPLE, FREE_PORT, KEY, curl
from tests.daemon import Daemon, Workplace

pytestmark = pytest.mark.process

AUTH = ("-H", "Authorization: Bearer KEY", "-H", "Content-Type: application/json")
BOOTSTRAP = """
server: {listen: "127.0.0.1:0"}
providers: {demo: {type: simulated, simulate: {latency: 0, tokens_per_second: 0}}}
model_catalog: [{alias: gpt-5-mini, targets: [{provider: demo}], price: {input: 0.25, output: 2}}]
bootstrap:
  tenants:       [{name: demo, status: active, models: ["*"], defaults: {chat: gpt-5-mini}}]
  admin_users:   [{email: admin@example.com, name: Admin, password: "${ADMIN_PASSWORD:-}"}]
  api_keys:      [{tenant: demo, name: demo, prefix: demo, secret: my-secret, scopes: [], models: ["*"], expires: null,
                   budget_usd: null, rate_limit: {requests_per_minute: 60, tokens_per_minute: 60000, parallel_requests: 5}}]
  memberships:   [{tenant: demo, email: admin@example.com, role: owner}]
  tenant_limits: [{tenant: demo, limits: {requests_per_minute: 120, tokens_per_minute: 120000, parallel_requests: 20}}]
  tenant_budgets: [{tenant: demo, budget_usd: 150.0, warning_threshold: 0.75, refresh_schedule: weekly,
                    alert_emails: [finance@example.com], alert_webhooks: [], alert_cooldown: 90m}]
"""


@pytest.mark.parametrize(
    ("body", "count"), [('{"input":"hello world"}', 1), ('{"input":["first","second"]}', 2), ('{"input":["a","b","c"]}', 3)]
)
def test_7_embeddings_without_a_model_come_one_for_each_input_in_order(routerd: Daemon, body: str, count: int) -> None:
    answer = curl(routerd, "/v1/embeddings", *AUTH, "-d", body)
    assert (answer.status, answer.headers["x-router-model"]) == (200, "text-embedding-3-small")
    assert [item["index"] for item in answer.json["data"]] == list(range(count))
    assert len({json.dumps(item["embedding"]) for item in answer.json["data"]}) == count


def test_8_models_are_listed_for_a_key_and_only_for_a_key(routerd: Daemon) -> None:
    listed = curl(routerd, "/v1/models", "-H", "Authorization: Bearer KEY")
    assert {model["id"] for model in listed.json["data"]} == {
        "gpt-5-mini",
        "gpt-5",
        "text-embedding-3-small",
        "omni-moderation-latest",
        "rerank-small",
    }
    refused = curl(routerd, "/v1/models")
    assert (refused.status, refused.json["error"]["code"]) == (401, "invalid_api_key")


def test_8_public_models_are_names_only(folder: Workplace) -> None:
    with Daemon(folder, EXAMPLE, FREE_PORT | {"ROUTER_SERVER_PUBLIC_MODELS": "true"}) as routerd:
        listed = curl(routerd, "/v1/models")
        assert listed.status == 200
        assert listed.json["data"][0].keys() == {"id", "object", "created", "owned_by"}


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_9_health_says_alive_and_how_its_database_is(routerd: Daemon, path: str) -> None:
    answer = curl(routerd, path)
    assert (answer.status, answer.json["status"], answer.json["checks"]["database"]["status"]) == (200, "ok", "ok")
    assert answer.json["checks"]["database"]["latency_ms"] >= 0


def test_9_metrics_are_prometheus_text(routerd: Daemon) -> None:
    answer = curl(routerd, "/metrics")
    assert (answer.status, "# TYPE routerd_requests_total counter" in answer.body) == (200, True)


def test_13_and_14_the_bootstrap_block_s_key_is_held_to_60_requests_a_minute(folder: Workplace) -> None:
    with Daemon(folder, BOOTSTRAP) as routerd:
        body = '{"messages":[{"role":"user","content":"hi"}],"max_tokens":8}'
        answers = [curl(routerd, "/v1/chat/completions", *AUTH, "-d", body) for _ in range(61)]
        assert [a.status for a in answers] == [200] * 60 + [429]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "60"
        assert answers[0].headers["x-ratelimit-limit-tokens"] == "60000"
        last = answers[-1]
        assert (last.json["error"]["code"], last.headers["x-ratelimit-remaining"]) == ("rate_limited", "0")
        assert 1 <= int(last.headers["retry-after"]) <= 60
        assert int(last.headers["x-ratelimit-reset-ms"]) > 0


def test_13_five_requests_of_the_key_may_run_at_a_time(folder: Workplace) -> None:
    slow = BOOTSTRAP.replace("latency: 0,", "latency: 2s,")
    with Daemon(folder, slow) as routerd:
        body = '{"messages":[{"role":"user","content":"hi"}],"max_tokens":8}'
        command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", routerd.url + "/v1/chat/completions"]
        words = [word.replace("KEY", KEY) for word in AUTH]
        running = [subprocess.Popen([*command, *words, "-d", body], stdout=subprocess.PIPE, text=True) for _ in range(6)]
        assert sorted(each.communicate(timeout=20)[0] for each in running) == ["200"] * 5 + ["429"]


async def test_22_postgresql_and_redis_by_environment_with_migrations_on_boot(
    folder: Workplace, postgres_url: str, redis_url: str
) -> None:
    environ = FREE_PORT | {
        "ROUTER_DB_URL": postgres_url.replace("postgresql://", "postgres://") + "?sslmode=disable",
        "ROUTER_REDIS_URL": redis_url,
        "ROUTER_SECRET": "a-secret-of-32-bytes-and-some-more",
    }
    with Daemon(folder, EXAMPLE, environ, by_environment=True) as routerd:
        body = '{"messages":[{"role":"user","content":"hi"}]}'
        assert curl(routerd, "/v1/chat/completions", *AUTH, "-d", body).status == 200
    assert not list(folder.path.glob("data/*.db"))


async def test_23_it_runs_on_a_bare_machine_with_sqlite_beside_it(folder: Workplace) -> None:
    with Daemon(folder, EXAMPLE, FREE_PORT) as routerd:
        assert curl(routerd, "/readyz").json["status"] == "ready"
    assert (folder.path / "data/router.db").stat().st_size > 0
    assert (folder.path / "data/router.secret").stat().st_mode & 0o777 == 0o600


async def test_24_check_then_sighup_puts_a_new_alias_in_force(folder: Workplace) -> None:
    with Daemon(folder, EXAMPLE, FREE_PORT) as routerd:
        changed = EXAMPLE.replace(
            "model_catalog:\n", "model_catalog:\n  - {alias: brand-new, targets: [{provider: demo, model: gpt-5}]}\n", 1
        )
        (folder.path / "next.yaml").write_text(changed)
        routerd.command("check", "--config", "next.yaml")
        assert (await routerd.reload(changed))["event"] == "config_reloaded"
        body = '{"model":"brand-new","messages":[{"role":"user","content":"hi"}]}'
        assert curl(routerd, "/v1/chat/completions", *AUTH, "-d", body).headers["x-router-model"] == "brand-new"
