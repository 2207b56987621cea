"""Recorded Chat Completions traffic, where it lies beside the project."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

EXCHANGES = Path(__file__).parents[4] / "shared" / "exchanges"
_CHAT = re.compile(r"[^/]+/(?!cohere|ollama\.)[^/]*\.chat/")
# Of another API than their folder says: a realtime session, a skill.
_STRANGERS = {
    "openai/openai.chat/s-200-ai-openai-realtime-speech-translation.chunks-0.json",
    "openai/openai.chat/u-200-ai-openai-skill-create-0.json",
}


class Recording:
    def __init__(self, name: str) -> None:
        told = json.loads((EXCHANGES / name).read_text())
        self.name = name
        sent = (told.get("request") or {}).get("json")
        self.sent: dict[str, Any] | None = sent if isinstance(sent, dict) and sent.get("messages") else None
        answer = told["response"]
        self.status: int = answer["status"]
        self.is_stream = bool(told["stream"])
        self.body = base64.b64decode(answer["body_b64"]) if "body_b64" in answer else answer["body_text"].encode()


def recordings() -> list[Recording]:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    names = sorted(p.relative_to(EXCHANGES).as_posix() for p in EXCHANGES.rglob("*.json"))
    return [Recording(name) for name in names if _CHAT.match(name) and name not in _STRANGERS]
