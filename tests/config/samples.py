"""Configurations the tests share: the whole documented file, and the smallest one that serves."""

from collections.abc import Mapping
from pathlib import Path

from router.config.load import Loaded, load
from router.config.problems import ConfigError, Problem

MINIMAL = """\
providers:
  demo: {type: simulated}
model_catalog:
  - alias: a
    targets: [{provider: demo}]
"""

DEMO = "providers: {demo: {type: simulated}, other: {type: simulated}}\n"
ONE_ALIAS = "model_catalog: [{alias: a, targets: [{provider: demo}]}]\n"

SECRETS = {
    "ROUTER_SECRET": "canary-server-secret-0123456789abcdef",
    "OPENAI_API_KEY": "canary-openai",
    "AZURE_KEY": "canary-azure",
    "ANTHROPIC_API_KEY": "canary-anthropic",
    "ADMIN_PASSWORD": "canary-password",
    "ROUTER_MASTER_KEY": "canary-master",
}

WHOLE = """\
server:
  listen: "127.0.0.1:8080"
  secret: "${ROUTER_SECRET:-}"
  public_url: ""
  trusted_proxies: []
  cors_origins: []
  public_models: false
  tls: {cert: "", key: ""}
  workers: 1
  body_limit_mb: 20
  timeouts: {connect: 5s, first_byte: 120s, idle: 300s, total: 900s, write_stall: 60s, keep_alive: 75s}
  drain: 30s
database:      {url: "sqlite:///data/router.db", run_migrations: true, pool_size: 10}
redis:         {url: "", pool_size: 20}
journal:       {path: "data/journal", max_mb: 256, durability: process}
observability: {metrics: true, metrics_token: "", log_format: json, otlp_endpoint: "", sample: 0.1}
health:        {interval: 60s, mode: models, cooldown: 30s}
rate_limits:   {requests_per_minute: 1000, tokens_per_minute: 1000000, parallel_requests_key: 100,
                parallel_requests_tenant: 400, per_address_per_minute: 1000, address_exempt: []}
budgets:       {default_usd: 100, mode: hard, refresh_schedule: calendar_month, warning_threshold: 0.8, timezone: UTC,
                on_db_loss: lease,
                alerts: {enabled: true, emails: [], webhooks: [{url: "https://hooks.example.com/x", format: standard}],
                         cooldown: 1h}}
smtp:          {host: "", port: 587, username: "", password: "", from: "", tls: starttls}
pricing:       {unknown: warn}
providers:
  openai:      {type: openai, api_key: "${OPENAI_API_KEY}"}
  azure-openai: {type: azure-openai, endpoint: "https://name.openai.azure.com", api_key: "${AZURE_KEY}",
                 api_version: "2024-10-21"}
  claude:      {type: anthropic, api_keys: [{key: "${ANTHROPIC_API_KEY}", weight: 1}]}
  local:       {type: openai-compatible, base_url: "http://127.0.0.1:8000/v1", ca_file: "", headers: {}, stream_usage: true}
  demo:        {type: simulated}
model_catalog:
  - alias: gpt-5-mini
    type: chat
    strategy: weighted
    targets:
      - {provider: openai, model: gpt-5-mini, weight: 80}
      - {provider: azure-openai, model: gpt-5-mini, deployment: gpt5mini, weight: 20}
    fallbacks: [claude-haiku]
    context_window: 400000
    max_output_tokens: 128000
    price: {input: 0.25, cached_input: 0.025, output: 2.00}
  - {alias: gpt-5, type: chat, targets: [{provider: openai, model: gpt-5}]}
  - {alias: claude-haiku, type: chat, targets: [{provider: claude, model: claude-haiku-4-5}]}
  - {alias: text-embedding-3-small, type: embeddings, targets: [{provider: openai, model: text-embedding-3-small}]}
tiers:         {fast: gpt-5-mini, smart: gpt-5}
defaults:      {chat: gpt-5-mini, embeddings: text-embedding-3-small}
bootstrap:
  tenants:       [{name: demo, status: active, models: ["*"], defaults: {chat: gpt-5-mini}}]
  admin_users:   [{email: admin@example.com, name: Admin, password: "${ADMIN_PASSWORD:-}"}]
  api_keys:      [{tenant: demo, name: demo, prefix: demo, secret: my-secret, scopes: [], models: ["*"], expires: null,
                   budget_usd: null,
                   rate_limit: {requests_per_minute: 60, tokens_per_minute: 60000, parallel_requests: 5}}]
  memberships:   [{tenant: demo, email: admin@example.com, role: owner}]
  tenant_limits: [{tenant: demo, limits: {requests_per_minute: 120, tokens_per_minute: 120000, parallel_requests: 20}}]
  tenant_budgets: [{tenant: demo, budget_usd: 150.0, warning_threshold: 0.75, refresh_schedule: weekly,
                    alert_emails: [finance@example.com], alert_webhooks: [], alert_cooldown: 90m}]
admin:
  listen: ""
  session: {jwt_secret: "", access_token_ttl: 15m, refresh_token_ttl: 24h, cookie_name: router_session}
  local: {enabled: true}
  oidc: {enabled: false, issuer: "", client_id: "", client_secret: "", redirect_url: "", scopes: [openid, email, profile],
         allowed_domains: [], roles_claim: roles, allowed_roles: [], admin_roles: [], http_timeout: 5s}
  signup: off
auth:          {mode: keys}
encryption:    {master_key: "${ROUTER_MASTER_KEY:-}"}
retention:     {log: metadata, metadata_days: 30, zero_retention: false}
"""


def catalog(*aliases: str) -> str:
    """A file with two simulated providers, `demo` and `other`, and these aliases."""
    return DEMO + "model_catalog:\n" + "".join(f"  - {alias}\n" for alias in aliases)


def write(folder: Path, text: str | bytes, name: str = "router.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> Loaded:
    return load(write(folder, text), environ or {})


def problems(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """What is wrong with `text`; nothing if it loads."""
    try:
        loaded(folder, text, environ)
    except ConfigError as error:
        return error.problems
    return ()


def only(found: tuple[Problem, ...]) -> Problem:
    assert len(found) == 1, [problem.render() for problem in found]
    return found[0]
