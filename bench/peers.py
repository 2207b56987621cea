"""LiteLLM and Portkey as contestants: pinned versions, installed into a folder outside the source tree and kept there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.gateways import KEY, Gateway
from bench.progress import say
from bench.routerd import MODELS

LITELLM = "1.108.0"
PORTKEY = "1.15.2"
UV = "0.13.8"
# The last of its libraries with which its streams work; later ones make the headers of an answer immutable.
PORTKEY_LIBRARIES = ("@hono/node-server@1.13.8", "@hono/node-ws@1.2.0", "hono@4.9.7")
INSTALL_LIMIT_S = 900
# LiteLLM asks for the CA certificates of the day it was released; nothing here speaks TLS, so any will do.
_OVERRIDES = "certifi\n"
# It has no setting for the address it listens on, which would be every one.
_ON_LOOPBACK = """\
const { Server } = require("node:net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, { port, host: "127.0.0.1" }, ...rest.filter((one) => typeof one === "function"));
};
"""


class InstallFailure(Exception):
    """A peer cannot be had here; the text is the end of what its installer said."""


def installed_peers() -> list[Gateway]:
    """Those that are there or can be installed; what cannot is told and left out. Takes minutes the first time."""
    found = []
    for name, install in (("litellm", _litellm), ("portkey", _portkey)):
        try:
            found.append(install(_folder()))
        except InstallFailure as failure:
            say(f"{name} is left out, it cannot be installed here: {failure}")
    return found


def _folder() -> Path:
    """The user's cache folder, so that a second run installs nothing."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "routerd-bench"


def _litellm(peers: Path) -> Gateway:
    folder = peers / f"litellm-{LITELLM}"
    program = folder / "bin" / "litellm"
    if not (folder / "installed").exists():
        say(f"installing LiteLLM {LITELLM} into {folder}")
        peers.mkdir(parents=True, exist_ok=True)
        python = str(folder / "bin" / "python")
        _install([sys.executable, "-m", "venv", "--clear", str(folder)])
        _install([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"uv=={UV}"])
        overrides = folder / "overrides.txt"
        overrides.write_text(_OVERRIDES)
        uv = [str(folder / "bin" / "uv"), "pip", "install", "--quiet", "--no-config", "--python", python]
        _install([*uv, "--override", str(overrides), f"litellm[proxy]=={LITELLM}"])
        (folder / "installed").touch()

    async def command(port: int, upstream: int, scratch: Path) -> list[str]:
        (scratch / "litellm.yaml").write_text(litellm_configuration(upstream))
        # Its answers to the question for its price table must not wait for a network.
        settings = ["env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR", "NO_DOCS=True"]
        served = ["--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return [*settings, str(program), *served]

    return Gateway("litellm", command, ready_path="/health/liveliness", start_limit_s=120.0, once=True)


def litellm_configuration(upstream: int) -> str:
    """One key, no database: less than routerd does. JSON is YAML too."""
    models = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "sk-upstream",
            },
        }
        for model in MODELS
    ]
    settings = {"telemetry": False, "num_retries": 0}
    return json.dumps({"model_list": models, "litellm_settings": settings, "general_settings": {"master_key": KEY}})


def _portkey(peers: Path) -> Gateway:
    folder = peers / f"portkey-{PORTKEY}"
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise InstallFailure("node and npm are not installed")
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not (folder / "installed").exists():
        say(f"installing Portkey {PORTKEY} into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        _install([npm, "install", *options, f"@portkey-ai/gateway@{PORTKEY}", *PORTKEY_LIBRARIES])
        (folder / "installed").touch()

    async def command(port: int, _upstream: int, scratch: Path) -> list[str]:
        (scratch / "loopback.cjs").write_text(_ON_LOOPBACK)
        return [node, "--require", "./loopback.cjs", str(script), f"--port={port}", "--headless"]

    headers = ("x-portkey-provider: openai", "x-portkey-custom-host: http://127.0.0.1:{upstream}/v1")
    return Gateway("portkey", command, headers=headers, once=True)


def _install(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailure(str(error)) from error
    if done.returncode:
        raise InstallFailure(done.stderr.strip()[-600:] or f"exit code {done.returncode}")
