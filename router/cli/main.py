"""The command `routerd`: names to modules, imported on use so that `--help` and small commands start fast.

The one place where errors become exit codes: 0 good, 1 failed, 2 the input is wrong. No traceback is ever shown.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

import click

from router.cli.complaint import ABORTED, FAILED, Complaint
from router.config.problems import ConfigError, did_you_mean

COMMANDS = {
    "serve": "Run the daemon (what `routerd` alone does).",
    "init": "Write a commented router.yaml for the provider keys found in the environment.",
    "check": "Validate the configuration; print every problem with its place.",
    "explain": "Show where a model's requests go, with chances and reasons.",
    "keys": "Create, list and revoke the keys of callers.",
    "tenants": "Create and list tenants.",
    "usage": "Sum up requests, tokens and cost.",
    "audit": "Prove that the ledger and the budgets agree.",
    "alerts": "Send a test alert to everybody who is told of trouble.",
    "migrate": "Bring the database to this release's schema.",
    "simulate": "Serve the simulated provider over HTTP.",
}
"""Each is the click command of that name in the module `router.cli.<name>`."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is used. Help texts are in COMMANDS, so listing imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"router.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or f"Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *_: Any, **settings: Any) -> Any:
        """Run to the end of the process."""
        given = list(sys.argv[1:] if args is None else args)
        settings.update(prog_name="routerd", standalone_mode=False)
        sys.exit(_run_to_exit_code(lambda: super(LazyGroup, self).main(given, **settings), as_json="--json" in given))


def _run_to_exit_code(command: Any, *, as_json: bool) -> int:
    try:
        result = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left. What is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ConfigError as error:
        return _complain(error, as_json=as_json)
    except click.ClickException as error:
        return _complain(_from_click(error), as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")  # off the line with the ^C
        return _complain(Complaint("Stopped.", code=ABORTED), as_json=as_json)
    except Complaint as complaint:
        return _complain(complaint, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last frontier: a fault of ours is one line, not a traceback
        return _complain(_from_fault(error), as_json=as_json)
    return result if isinstance(result, int) else 0


def _complain(complaint: Complaint | ConfigError, *, as_json: bool) -> int:
    """Prints it, and returns the exit code. What prints is imported when there is something to say, like the commands."""
    shown = importlib.import_module("router.cli.complaining")
    code: int = shown.complain(complaint, as_json=as_json)
    return code


def _from_click(error: click.ClickException) -> Complaint:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{ctx.command_path} --help` lists what it takes." if ctx is not None else ""
    return Complaint(error.format_message(), hint=hint, code="usage", exit_code=error.exit_code)


def _from_fault(error: Exception) -> Complaint:
    """The message of a foreign error may hold a secret, so its type and place must do."""
    frame = extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return Complaint(f"a fault of routerd itself: {type(error).__name__} at {where}", code="internal_error")


def _show_version(ctx: click.Context, _: click.Parameter, *, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"routerd {importlib.import_module('router.system').VERSION}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration. [default: $ROUTER_CONFIG_FILE, else ./router.yaml]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, param, value: _show_version(ctx, param, value=value),
    help="Show the version.",
)
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """A gateway for large language models: one YAML file, one daemon.

    Without a command it serves.
    """
    if ctx.invoked_subcommand is None:
        serve = main.get_command(ctx, "serve")
        assert serve is not None
        ctx.invoke(serve, config=config)


if __name__ == "__main__":
    main()
