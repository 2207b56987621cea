"""Recorded traffic of Google's, where it lies beside the project."""

import json
from pathlib import Path

import pytest

EXCHANGES = Path(__file__).parents[4] / "shared" / "exchanges"
_APIS = ("generateContent", "streamGenerateContent")


class Recording:
    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text())
        self.name = path.relative_to(EXCHANGES).as_posix()
        answer = told["response"]
        self.status: int = answer["status"]
        self.is_stream = bool(told["stream"])
        self.body: bytes = answer["body_text"].encode()

    @property
    def is_array(self) -> bool:
        return self.body.lstrip().startswith(b"[")


def recordings(*apis: str, providers: tuple[str, ...] = ("gemini", "vertex")) -> list[Recording]:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    folders = [EXCHANGES / one / f"{one}.{api}" for one in providers for api in apis or _APIS]
    return [Recording(path) for folder in folders for path in sorted(folder.glob("*.json"))]
