"""Opens what a command works on, and turns what can go wrong there into complaints with exit codes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from router.cli.complaint import Complaint, WrongInput
from router.config.load import Loaded, load
from router.config.schema import RouterConfig
from router.config.secrets import Purpose, SecretUnavailable, derive, server_secret
from router.domain.errors import StorageUnavailable
from router.domain.identity import digest_of
from router.storage.database import Database, DatabaseRefused, ValueRefused, sqlite_path
from router.storage.migrate import require_current
from router.storage.postgres import PostgresDatabase
from router.storage.sqlite import SqliteDatabase
from router.system import environment

DEFAULT_FILE = Path("router.yaml")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """`--config FILE` before or after the command's name."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        callback=lambda ctx, _, value: value or ctx.find_root().params.get("config"),
        metavar="FILE",
        help="The configuration. [default: $ROUTER_CONFIG_FILE, else ./router.yaml]",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, errors too.")(command)


def config_file(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to read: the one chosen, else $ROUTER_CONFIG_FILE, else ./router.yaml. Raises WrongInput if there is none."""
    named = environ.get("ROUTER_CONFIG_FILE", "")
    path = chosen or (Path(named) if named else DEFAULT_FILE)
    if path.is_file():
        return path
    if path.is_dir():
        raise WrongInput(f"{path} is a folder; expected a configuration file", code="no_configuration")
    source = " (named by ROUTER_CONFIG_FILE)" if chosen is None and named else ""
    hint = "`routerd init` writes one for the provider keys it finds; name another with --config FILE or ROUTER_CONFIG_FILE."
    raise WrongInput(f"there is no configuration file {path}{source}", hint=hint, code="no_configuration")


def open_config(chosen: Path | None) -> Loaded:
    """Raises WrongInput if there is no file, ConfigError with all problems of what it holds."""
    environ = environment()
    return load(config_file(chosen, environ), environ)


@asynccontextmanager
async def open_database(loaded: Loaded, *, as_it_is: bool = False) -> AsyncIterator[Database]:
    """The configured database with this release's schema; `as_it_is` takes any schema and makes a missing SQLite file.

    Raises Complaint, and turns what the block meets into one.
    """
    config = loaded.config.database
    try:
        path = sqlite_path(config.url)
        if path is not None and not as_it_is and not path.exists():
            hint = "Start `routerd` once (or run `routerd migrate`); the path is relative to the working directory."
            raise Complaint(f"no database yet: there is no file {path}", hint=hint, code="no_database")
        database = await _open(config.url, path)
        try:
            if not as_it_is:
                await require_current(database)
            yield database
        finally:
            await database.close()
    except (DatabaseRefused, ValueRefused) as error:
        raise WrongInput(str(error), code="database_refused") from error
    except StorageUnavailable as error:
        raise Complaint(error.message, hint=error.hint, code=error.code) from error


async def _open(url: str, path: Path | None) -> Database:
    return await PostgresDatabase.open(url, pool_size=2) if path is None else await SqliteDatabase.open(path, readers=1)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def key_digest(config: RouterConfig) -> Callable[[str], str]:
    """How the daemon stores a key's secret: secret -> hex digest."""
    try:
        secret = server_secret(config)
    except SecretUnavailable as error:
        raise WrongInput(str(error), code="secret_unavailable") from error
    return partial(digest_of, key=derive(secret, Purpose.API_KEYS))
