"""The configuration a command works on, and what can go wrong there as complaints with exit codes."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from router.cli.complaint import WrongInput
from router.config.load import Loaded, load
from router.config.schema import RouterConfig
from router.config.secrets import Purpose, SecretUnavailable, derive, server_secret
from router.domain.identity import digest_of
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


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def key_digest(config: RouterConfig) -> Callable[[str], str]:
    """How the daemon stores a key's secret: secret -> hex digest."""
    try:
        secret = server_secret(config)
    except SecretUnavailable as error:
        raise WrongInput(str(error), code="secret_unavailable") from error
    return partial(digest_of, key=derive(secret, Purpose.API_KEYS))
