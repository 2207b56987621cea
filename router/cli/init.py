"""`routerd init`: a commented router.yaml for the provider keys found, and the first caller's key in `.env` beside it."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from router.cli.complaint import Complaint, WrongInput
from router.cli.init_yaml import KEY_PREFIX, SECRET_VARIABLE, Found, find_providers, router_yaml, unserved
from router.cli.opening import DEFAULT_FILE, json_option
from router.cli.output import notices, print_json, screen
from router.config.environment import read_bounded, read_dotenv
from router.config.load import load
from router.config.problems import ConfigError
from router.domain.identity import MintedKey, mint_key
from router.system import environment

_MOST_DOTENV = 2**20


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), default=DEFAULT_FILE, show_default=True, metavar="FILE")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
def init(*, output: Path, force: bool, as_json: bool) -> None:
    """Write a commented router.yaml for the provider keys found in the environment and in `.env`.

    It names the variables, never their values, and always has the simulated provider, so it works without any key.
    """
    _require_writable(output, force=force)
    dotenv = output.parent / ".env"
    environ = {**_dotenv_values(dotenv), **environment()}
    minted = None if environ.get(SECRET_VARIABLE) else MintedKey(KEY_PREFIX, mint_key(secrets.token_bytes).secret)
    found = find_providers(environ)
    try:
        if minted is not None:
            _append_secret(dotenv, minted.secret)
        _replace_file(output, router_yaml(found, unserved(environ)), mode=0o644)
    except OSError as error:
        raise Complaint(f"cannot write {error.filename or output}: {error.strerror}", code="unwritable") from error
    warnings = _check(output, environ)
    if as_json:
        names = [one.provider for one in found]
        document = {"file": str(output), "env_file": str(dotenv), "providers": names, "not_served_yet": unserved(environ)}
        print_json({**document, "key": minted.presented if minted else None, "warnings": warnings})
    else:
        _show(output, dotenv, found, minted, warnings)


def _require_writable(output: Path, *, force: bool) -> None:
    if output.is_dir():
        raise WrongInput(f"{output} is a folder; name a file with --output FILE")
    if not output.parent.is_dir():
        raise WrongInput(f"there is no folder {output.parent}; make it first")
    if output.exists() and not force:
        raise WrongInput(f"{output} exists already", hint="Nothing was changed. --force replaces it.", code="file_exists")


def _dotenv_values(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    try:
        values, problems = read_dotenv(read_bounded(path, _MOST_DOTENV).decode("utf-8-sig"), ".env")
    except (OSError, ValueError) as error:
        raise WrongInput(f"{path} cannot be read ({type(error).__name__}); it would be read at each start too") from error
    if problems:
        raise ConfigError(problems)
    return values


def _append_secret(path: Path, secret: str) -> None:
    """What the file holds stays; from now on only its owner may read it."""
    before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    gap = "" if not before or before.endswith("\n") else "\n"
    comment = f"# The secret of the caller's key sk-{KEY_PREFIX}.<secret>, written by `routerd init`.\n"
    _replace_file(path, f"{before}{gap}{comment}{SECRET_VARIABLE}={secret}\n", mode=0o600)


def _replace_file(path: Path, text: str, *, mode: int) -> None:
    """The whole new content or the old one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _check(output: Path, environ: Mapping[str, str]) -> list[str]:
    """What was written must load; a variable with an odd value may be in the way."""
    try:
        return list(load(output, environ).warnings)
    except ConfigError as error:
        return [problem.render() for problem in error.problems]


def _show(output: Path, dotenv: Path, found: list[Found], minted: MintedKey | None, warnings: list[str]) -> None:
    out, aside = screen(), notices()
    names = ", ".join(one.provider for one in found) or "no provider's key in the environment"
    aside.line(f"Wrote {output}: the simulated provider, and {names}.", "green")
    for warning in warnings:
        aside.line(f"warning: {warning}", "yellow")
    if minted is None:
        aside.line(f"The caller's key is the one {SECRET_VARIABLE} holds already.")
    else:
        aside.line(f"The first caller's key, its secret kept in {dotenv} (keep that file out of version control):")
        if out.is_terminal:
            out.line()
            sys.stdout.write(f"  {minted.presented}\n")
            out.line()
        else:
            out.line(minted.presented)
    option = "" if output == DEFAULT_FILE else f" --config {output}"
    aside.line(f"Next: `routerd check{option}`, then `routerd{option}`.", "dim")
