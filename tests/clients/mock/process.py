"""The mock providers as one process of the test run, and their configuration as providers of the daemon."""

import json
import os
import re
import subprocess
import time
import urllib.request
from typing import Any, NamedTuple, Self

from tests.clients.mock.programs import HERE, installed, node
from tests.daemon import START_S, Workplace

Json = dict[str, Any]
SECRET = "a-secret-of-the-tests-only"


class Target(NamedTuple):
    """A provider's configuration, the model it is asked for, and the path of the mock that must hear of it.

    `responses`: the path for callers of Responses, where the type speaks them itself.
    """

    provider: Json
    model: str
    path: str
    responses: str | None = None


VECTORS = {
    "openai": "text-embedding-3-small",
    "azure": "text-embedding-3-small",
    "mistral": "mistral-embed",
    "cohere": "embed-v4.0",
}
"""Models of embeddings. Gemini is asked by `batchEmbedContents` (as recorded), which the mock does not serve, and its
`/api/embed` of Ollama answers with one `embedding` where recorded answers have `embeddings`."""


class MockProviders:
    """One process on a free port of loopback, answering by fixtures.json; it ends with the workplace at the latest."""

    def __init__(self, folder: Workplace) -> None:
        """Raises Missing."""
        output = folder.path / "mock.out"
        path, _ = node()
        words = ["--port", "0", "--fixtures", str(HERE / "fixtures.json"), "--chunk-size", "9", "--strict"]
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                [path, str(installed()), *words, "--validate-on-load", "--log-level", "info"],
                cwd=folder.path,
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        folder.started(self._process)
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"listening on (http://\S+)", output.read_text())):
            assert self._process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        self.origin = found[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def journal(self) -> list[Json]:
        """What was asked since the last look, oldest first: path, headers, and the body as the mock understood it."""
        with urllib.request.urlopen(f"{self.origin}/__aimock/journal", timeout=10) as answer:
            entries: list[Json] = json.load(answer)
        forget = urllib.request.Request(f"{self.origin}/__aimock/reset/journal", method="POST")
        urllib.request.urlopen(forget, timeout=10).close()
        return entries


def targets(origin: str) -> dict[str, Target]:
    """Every type of provider, by the name that the tests give its alias."""
    chat, responses, keyed = "/v1/chat/completions", "/v1/responses", {"api_key": SECRET}

    def shaped(kind: str, base: str = "/v1", **more: Any) -> Json:
        return {"type": kind, "base_url": origin + base} | keyed | more

    azure = {"type": "azure-openai", "endpoint": origin} | keyed
    aws = {
        "type": "bedrock",
        "base_url": origin,
        "region": "eu-central-1",
        "access_key_id": "AKIAOFTHETESTS",
        "secret_access_key": SECRET,
    }
    cloud = {"project": "lighthouses", "location": "europe-west4", "auth": "bearer"}
    return {
        "openai": Target(shaped("openai"), "gpt-4.1-mini", chat, responses),
        "azure": Target(azure, "gpt-4.1-mini", "/openai/deployments/mini/chat/completions?api-version=2024-10-21"),
        "azure-v1": Target(azure | {"api_version": "v1"}, "gpt-4.1-mini", "/openai" + chat, "/openai" + responses),
        "compatible": Target(shaped("openai-compatible", apis=["chat"]), "some-model", chat),
        "mistral": Target(shaped("mistral"), "mistral-small-latest", chat),
        "groq": Target(shaped("groq", "/openai/v1"), "openai/gpt-oss-20b", "/openai" + chat, "/openai" + responses),
        "vllm": Target(shaped("vllm", apis=["chat"]), "Qwen/Qwen3-8B", chat),
        "huggingface": Target(shaped("huggingface"), "openai/gpt-oss-20b", chat, responses),
        "anthropic": Target(shaped("anthropic", ""), "claude-sonnet-4-5", "/v1/messages"),
        "gemini": Target(shaped("gemini", ""), "gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:"),
        "vertex": Target(
            shaped("vertex", "/v1", **cloud),
            "gemini-2.5-flash",
            "/v1/projects/lighthouses/locations/europe-west4/publishers/google/models/gemini-2.5-flash:",
        ),
        "bedrock": Target(
            aws,
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        ),
        "nova": Target(aws, "amazon.nova-pro-v1:0", "/model/amazon.nova-pro-v1%3A0/"),
        "cohere": Target(shaped("cohere", ""), "command-a-03-2025", "/v2/chat"),
        "ollama": Target(shaped("ollama", apis=["chat"]), "qwen3:8b", chat),
        "ollama-native": Target(shaped("ollama", "", apis=["ollama_chat"]), "qwen3:8b", "/api/chat"),
    }
