"""The two contestants: how each is started against the fake provider."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-bench.bench-secret-bench-secret"

_ROUTERD_YAML = """\
server: {{listen: "127.0.0.1:{port}", secret: "bench-bench-bench-bench-bench-bench"}}
database: {{url: "sqlite:///bench.db"}}
observability: {{metrics: true, log_format: json}}
health: {{mode: off}}
# Every limit is counted, none is reached.
rate_limits:
  requests_per_minute: 1000000000
  tokens_per_minute: 1000000000000
  parallel_requests_key: 1000000
  parallel_requests_tenant: 1000000
  per_address_per_minute: 1000000000
providers:
  bench: {{type: openai-compatible, base_url: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream}}
model_catalog:
{aliases}
bootstrap:
  tenants: [{{name: bench, status: active, models: ["*"]}}]
  api_keys: [{{tenant: bench, name: bench, prefix: bench, secret: bench-secret-bench-secret, models: ["*"]}}]
"""
_ALIAS = "  - {{alias: {0}, type: chat, targets: [{{provider: bench, model: {0}}}], price: {{input: 0.15, output: 0.60}}}}"
_MODELS = ("gpt-4o-mini", "gpt-4o-mini-paced", "gpt-4o-mini-slow")


@dataclass(frozen=True, slots=True)
class Gateway:
    """`command(port, upstream_port, folder)` is run in `folder`; with `ready_path` empty an open port is enough."""

    name: str
    command: Callable[[int, int, Path], list[str]]
    ready_path: str = ""


def bare(name: str = "bare") -> Gateway:
    def command(port: int, upstream: int, _folder: Path) -> list[str]:
        return [sys.executable, "-m", "bench.bare_proxy", "--port", str(port), "--origin", f"http://127.0.0.1:{upstream}"]

    return Gateway(name, command)


def routerd(program: Path) -> Gateway:
    """routerd with one key, one provider, SQLite and its log in a file."""

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        config = folder / "router.yaml"
        aliases = "\n".join(map(_ALIAS.format, _MODELS))
        config.write_text(_ROUTERD_YAML.format(port=port, upstream=upstream, aliases=aliases))
        return [str(program), "--config", str(config)]

    return Gateway("routerd", command, "/readyz")
