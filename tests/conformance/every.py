"""Every recorded exchange, whatever its API: what was asked, what was answered, and in which tongue."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit

from router.domain.events import StreamEvent
from router.domain.requests import Api
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.bedrock.codec import BEDROCK, EVENT_STREAM
from router.providers.codec import TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import CLAUDE_ON_VERTEX, GeminiCodec
from router.providers.gemini.query_out import VERTEX
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.ollama.framing import NDJSON
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.translated import SSE, Framing
from tests.conformance.recordings import EXPLAINED, EXPLAINED_CHATS, FOLDER, ROOT
from tests.providers.bedrock.event_writer import event

NOT_SPOKEN: dict[str, str] = json.loads((FOLDER / "not_spoken.json").read_text())
"""Label of an API -> why none of its exchanges is tried."""
NOVA = "bedrock/bedrock.invoke/u-200-ruby_llm-embedding_bedrock_embedding_dialects_bedrock_amazon_nova-2-m-0.json"
"""The one exchange of its API that is spoken: an embedding."""


@dataclass(frozen=True)
class Tongue:
    """A dialect in which chats are answered."""

    api: Api
    target: TargetSide
    framing: Framing = SSE


_CHAT = Tongue(Api.CHAT, OPENAI_CHAT)
_RESPONSES = Tongue(Api.RESPONSES, OPENAI_RESPONSES)
_CLAUDE_ON_VERTEX = Tongue(Api.MESSAGES, CLAUDE_ON_VERTEX)
_GEMINI = Tongue(Api.GENERATE_CONTENT, GeminiCodec())
_ON_VERTEX = Tongue(Api.GENERATE_CONTENT, GeminiCodec(VERTEX))
_CONVERSE = Tongue(Api.CONVERSE, BEDROCK, EVENT_STREAM)
TONGUES = {
    "anthropic.messages": Tongue(Api.MESSAGES, ANTHROPIC),
    "bedrock.converse": _CONVERSE,
    "bedrock.converse-stream": _CONVERSE,
    "cohere.v2_chat": Tongue(Api.COHERE_CHAT, COHERE_CHAT),
    "gemini.generateContent": _GEMINI,
    "gemini.streamGenerateContent": _GEMINI,
    "ollama.api_chat": Tongue(Api.OLLAMA_CHAT, OLLAMA_CHAT, NDJSON),
    "vertex.generateContent": _ON_VERTEX,
    "vertex.streamGenerateContent": _ON_VERTEX,
    "vertex_anthropic.rawPredict": _CLAUDE_ON_VERTEX,
    "vertex_anthropic.streamRawPredict": _CLAUDE_ON_VERTEX,
}
"""Label of an API -> the dialect; what ends in `.chat` or `.responses` is OpenAI's."""


def tongue_of(label: str) -> Tongue | None:
    """None for APIs that are not chats."""
    kind = label.rpartition(".")[2]
    return TONGUES.get(label) or {"chat": _CHAT, "responses": _RESPONSES}.get(kind)


@dataclass(frozen=True, eq=False)
class Recording:
    """`name` is provider/api/file; `sent` is None where the request is not recorded, or is no JSON object; `path` is the
    URL's, "" where it is not."""

    name: str
    path: str
    features: tuple[str, ...]
    sent: dict[str, Any] | None
    status: int
    headers: dict[str, str]
    body: bytes
    is_stream: bool

    @property
    def label(self) -> str:
        return self.name.split("/")[1]

    @cached_property
    def tongue(self) -> Tongue:
        found = tongue_of(self.label)
        assert found is not None
        return found

    @property
    def is_array(self) -> bool:
        """Google's streams are arrays where nobody asked for server-sent events."""
        return self.is_stream and self.tongue.api is Api.GENERATE_CONTENT and self.body.lstrip().startswith(b"[")


@cache
def labels() -> dict[str, str]:
    """Every exchange -> its API's label; empty where there is no recorded traffic."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.json"))
    return {name: name.split("/")[1] for name in found if name.count("/") == 2}


def chats() -> tuple[str, ...]:
    return tuple(name for name, label in labels().items() if tongue_of(label) and name not in EXPLAINED | EXPLAINED_CHATS)


@cache
def recording(name: str) -> Recording:
    told = json.loads((ROOT / name).read_text())
    answered = told["response"]
    sent = (told.get("request") or {}).get("json")
    return Recording(
        name=name,
        path=urlsplit((told.get("request") or {}).get("url") or "").path,
        features=tuple(told.get("features") or ()),
        sent=sent if isinstance(sent, dict) else None,
        status=answered["status"],
        headers={key.lower(): value for key, value in answered["headers"].items()},
        body=_body(answered),
        is_stream=bool(told["stream"]),
    )


def _body(answered: dict[str, Any]) -> bytes:
    """A binary stream whose recorder took the framing off gets it again."""
    if "body_b64" in answered:
        return base64.b64decode(answered["body_b64"])
    if answered.get("framing", "").startswith("jsonl"):
        lines = [json.loads(line) for line in answered["body_text"].splitlines() if line.strip()]
        return b"".join(event(name, payload) for line in lines for name, payload in line.items())
    return str(answered["body_text"]).encode()


def pieces(body: bytes, cuts: Sequence[int]) -> Iterable[bytes]:
    """`body` cut at these places."""
    return (body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True))


def every(size: int, body: bytes) -> range:
    return range(size, len(body), size)


def frames_of(of: Recording, cuts: Sequence[int]) -> list[bytes]:
    """The frames that a decoder is given. An array has no framing: its pieces are what the decoder gets."""
    if of.is_array:
        return list(pieces(of.body, cuts))
    framing, splitter = of.tongue.framing, of.tongue.framing.splitter()
    found = [frame for piece in pieces(of.body, cuts) for frame in framing.cut(splitter.feed(piece))]
    return [*found, *framing.cut(splitter.end())]


def events_of(of: Recording, cuts: Sequence[int] = ()) -> tuple[list[StreamEvent], bool]:
    """(the events of a stream, whether its dialect's end was seen)."""
    decoder = of.tongue.target.stream_decoder()
    found = [event for frame in frames_of(of, cuts) for event in decoder.feed(frame)]
    finished = decoder.finished
    return [*found, *decoder.close()], finished
