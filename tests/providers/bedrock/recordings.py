"""Recorded traffic of Bedrock, where it lies beside the project; none is kept here."""

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.providers.bedrock.event_writer import event

EXCHANGES = Path(__file__).parents[4] / "shared" / "exchanges"


class Recording(NamedTuple):
    """`body` of a stream is binary, where its source took the framing off too."""

    name: str
    kind: str
    model: str
    sent: dict[str, Any] | None
    status: int
    is_stream: bool
    body: bytes


def recordings(*kinds: str) -> list[Recording]:
    found = []
    for kind in kinds:
        folder = EXCHANGES / "bedrock" / f"bedrock.{kind}"
        if not folder.is_dir():
            pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
        found += [_read(path, kind) for path in sorted(folder.glob("*.json"))]
    return found


def streams() -> list[Recording]:
    return [recording for recording in recordings("converse-stream") if recording.is_stream]


def _read(path: Path, kind: str) -> Recording:
    told = json.loads(path.read_text())
    answer, request = told["response"], told["request"] or {}
    if "body_b64" in answer:
        body = base64.b64decode(answer["body_b64"])
    elif answer.get("framing"):
        lines = [json.loads(line) for line in answer["body_text"].splitlines() if line.strip()]
        body = b"".join(event(name, payload) for line in lines for name, payload in line.items())
    else:
        body = answer["body_text"].encode()
    return Recording(path.name, kind, told["model"] or "", request.get("json"), answer["status"], told["stream"], body)
