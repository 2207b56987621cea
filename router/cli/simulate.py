"""`routerd simulate`: the simulated provider as a server of its own, for rehearsals and tests."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from router.cli.complaint import Complaint, WrongInput
from router.providers.simulated.options import FaultKind, SimulateOptions, parse_fault, parse_options
from router.server.simulate import EventLog, SimulateServer
from router.system import SystemClock

_EPILOG = f"""Faults: {", ".join(FaultKind)}; 429, 500, 503 and so on stand for that status. A fault is written
kind=rate;name=value, for example "429=0.2;retry_after=5" or "cut_stream=1;after_events=3;requests=1,4-6".
A single request orders its own with the header x-simulate, or with metadata.simulate in its body."""


@click.command(epilog=_EPILOG)
@click.option("--listen", default="127.0.0.1:9100", show_default=True, help="Address and port; port 0 takes a free one.")
@click.option("--log", "log_path", type=click.Path(dir_okay=False), help="Append what is received and sent, as JSON lines.")
@click.option(
    "--config", "config_path", type=click.Path(exists=True, dir_okay=False), help="YAML or JSON, as in `simulate:`."
)
@click.option("--latency", metavar="SECONDS", help="Before each answer: 0.2 or 200ms.")
@click.option("--tokens-per-second", type=float, help="Speed of the answers; 0 sends all at once.")
@click.option("--output-tokens", type=int, help="Length of every text.")
@click.option("--fault", "faults", multiple=True, metavar="KIND[=RATE]", help="May be given several times.")
@click.option("--seed", type=int, help="Another seed gives other answers and other victims of the rates.")
def simulate(listen: str, log_path: str | None, config_path: str | None, **flags: Any) -> None:
    """Serve the simulated provider over HTTP: OpenAI's API with believable answers, and faults to order."""
    try:
        host, port = _address(listen)
        options = _options(config_path, flags)
    except ValueError as error:
        raise WrongInput(str(error)) from None
    try:
        log = EventLog(log_path) if log_path else None
        asyncio.run(_serve(SimulateServer(options, SystemClock(), log), host, port))
    except OSError as error:
        raise Complaint(f"cannot serve: {error}") from None


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"--listen: found {listen!r}, expected HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _options(config_path: str | None, flags: dict[str, Any]) -> SimulateOptions:
    """The file's settings with the flags laid over them; the flags' faults come before the file's."""
    settings: dict[str, Any] = {}
    if config_path:
        try:
            loaded = yaml.safe_load(Path(config_path).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{config_path}: {error}") from None
        if not isinstance(loaded, dict):
            raise ValueError(f"{config_path}: found {type(loaded).__name__}, expected a mapping")
        settings = loaded.get("simulate", loaded)
    faults = tuple(parse_fault(text) for text in flags.pop("faults"))
    options = parse_options(settings | {name: value for name, value in flags.items() if value is not None})
    return msgspec.structs.replace(options, faults=faults + options.faults)


async def _serve(server: SimulateServer, host: str, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    bound = await server.start(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"listening on http://{shown}:{bound}")
    await ended.wait()
    await server.stop()
