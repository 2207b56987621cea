"""Recorded Responses traffic, where it lies beside the project."""

import json
from pathlib import Path
from typing import Any

import pytest

EXCHANGES = Path(__file__).parents[4] / "shared" / "exchanges"


class Recording:
    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text())
        self.name = path.relative_to(EXCHANGES).as_posix()
        sent = (told.get("request") or {}).get("json")
        self.sent: dict[str, Any] | None = sent if isinstance(sent, dict) and sent.get("input") else None
        answer = told["response"]
        self.status: int = answer["status"]
        self.is_stream = bool(told["stream"])
        self.body: bytes = (answer.get("body_text") or "").encode()


def recordings() -> list[Recording]:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    return [Recording(path) for path in sorted(EXCHANGES.glob("*/*.responses/*.json"))]
