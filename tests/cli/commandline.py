"""The command line as a test types it: in a folder of its own, under an environment of its own."""

import json
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from click.testing import CliRunner

from router.cli.databases import open_database
from router.cli.main import main
from router.cli.opening import run
from router.config.bootstrap_items import bootstrap_items
from router.config.load import load
from router.config.secrets import Purpose, derive, server_secret
from router.domain.identity import digest_of
from router.storage.bootstrap import BootstrapSeals, apply_bootstrap
from router.storage.database import Database
from router.storage.migrate import migrate
from router.system import SystemIds

NOW = 1_780_000_000_000_000
T = TypeVar("T")

CONFIG = """\
database: {url: "sqlite:///data/router.db"}
providers:
  one: {type: simulated}
  two: {type: simulated, timeouts: {connect: 250ms}}
  embedder: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1", apis: [embeddings]}
model_catalog:
  - alias: smart
    targets:
      - {provider: one, model: large, weight: 80, price: {input: 1.25, output: 10}}
      - {provider: two, model: large, weight: 20}
    fallbacks: {default: [backup], on_rate_limited: [kept]}
    rate_limit: {requests_per_minute: 60}
  - {alias: backup, targets: [{provider: two, model: small}]}
  - alias: kept
    affinity: user
    targets: [{provider: one, model: a}, {provider: two, model: b}]
  - {alias: "wild/*", targets: [{provider: one}]}
  - {alias: vectors, type: embeddings, targets: [{provider: embedder, model: v}]}
  - {alias: picture, type: image, targets: [{provider: one, model: p}]}
tiers: {fast: backup}
defaults: {chat: smart}
bootstrap:
  tenants:
    - {name: demo}
    - {name: narrow, models: [backup]}
  api_keys:
    - {tenant: demo, name: first, prefix: first, secret: a-secret-of-the-tests-only, rate_limit: {parallel_requests: 3}}
    - {tenant: narrow, name: tight, prefix: tight, secret: a-secret-of-the-tests-only, scopes: [embeddings]}
"""


@dataclass(frozen=True, slots=True)
class Printed:
    """What one command left behind. Nothing a user sees may be a traceback."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class CommandLine:
    """Types commands in `folder`, which must be the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str = CONFIG, name: str = "router.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def __call__(self, *arguments: str, typed: str = "", **environ: str) -> Printed:
        hidden: dict[str, str | None] = {name: None for name in os.environ if name not in ("PATH", "LANG")}
        result = CliRunner(env={**hidden, **environ}).invoke(main, list(arguments), input=typed)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert "Traceback" not in result.output
        return Printed(result.exit_code, result.stdout, result.stderr)

    def database(self, work: Callable[[Database], Coroutine[Any, Any, T]], environ: Mapping[str, str] | None = None) -> T:
        """The result of `work` on the configured database."""

        async def opened() -> T:
            async with open_database(load(self.folder / "router.yaml", environ or {}), as_it_is=True) as db:
                return await work(db)

        return run(opened())

    def prepare(self) -> None:
        """What the first start of the daemon leaves: schema, tenants, keys."""
        config = load(self.folder / "router.yaml", {}).config
        key = derive(server_secret(config), Purpose.API_KEYS)

        async def apply(db: Database) -> None:
            await migrate(db, NOW)
            seals = BootstrapSeals(lambda secret: digest_of(secret, key), b"x" * 32)
            await apply_bootstrap(db, bootstrap_items(config), seals, SystemIds(), NOW)

        self.database(apply)
