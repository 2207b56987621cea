"""From parts of a turn to Converse's content blocks: what it has no words for is refused by name, or noted as dropped."""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    CacheMark,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from router.providers.bedrock.family import CACHING, TELLING_FAILURE, Maker
from router.providers.bedrock.media import MediaWriter
from router.providers.saying import CallBook, Saying

Json = dict[str, Any]
Blocks = list[Json]

_ANY = msgspec.json.Decoder(dict[str, Any])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_BLOCKS = frozenset("guardContent cachePoint searchResult toolUse toolResult image document video audio".split())


class BlockWriter:
    """Writes the turns of one request for a model of `maker`'s."""

    def __init__(self, maker: Maker, saying: Saying) -> None:
        self._maker = maker
        self._saying = saying
        self._media = MediaWriter(saying)
        self._calls = CallBook()
        self.has_tools = False

    def turn(self, parts: Sequence[Part], role: Role, number: int, path: str) -> Blocks:
        """Raises UnsupportedFeature."""
        if role is Role.ASSISTANT:
            self._calls.begin_turn()
        blocks: Blocks = []
        calls = 0
        for index, part in enumerate(parts):
            place = f"{path}[{index}]"
            if isinstance(part, ToolCall):
                blocks.append(self._call(part, number, calls, place))
                calls += 1
            else:
                blocks += self._blocks(part, role, place)
            blocks += self.cache_point(getattr(part, "cache", None))
        return blocks

    def system(self, parts: Iterable[Part]) -> Blocks:
        """What stands before the conversation: texts, and where they may be cached to."""
        blocks: Blocks = []
        for index, part in enumerate(parts):
            if isinstance(part, Opaque) and part.family is Family.BEDROCK:
                blocks.append(self._opaque(part, f"system[{index}]"))
            elif not isinstance(part, Text):
                self._saying.refuse(f"system[{index}]", "Bedrock takes texts as system prompts")
            elif part.text:
                blocks.append({"text": part.text})
            blocks += self.cache_point(getattr(part, "cache", None))
        return blocks

    def cache_point(self, cache: CacheMark | None) -> Blocks:
        if cache is None:
            return []
        if self._maker not in CACHING:
            self._saying.drop("cache_control")
            return []
        return [{"cachePoint": {"type": "default"} | ({"ttl": cache.ttl} if cache.ttl else {})}]

    def _blocks(self, part: Part, role: Role, path: str) -> Blocks:
        found: Blocks = []
        match part:
            case Text():
                found = self._text(part)
            case Reasoning():
                found = self._thought(part)
            case ToolResult():
                found = [self._result(part, path)]
            case Image() | Document() if role is not Role.USER:
                self._saying.refuse(path, "Bedrock takes images and documents from the user")
            case Image():
                found = [self._media.image(part, path)]
            case Document():
                found = [self._media.document(part, path)]
            case Refusal() if part.text:
                found = [{"text": part.text}]
            case Audio():
                found = self._audio(part, role, path)
            case Opaque():
                found = [self._opaque(part, path)]
        return found

    def _text(self, part: Text) -> Blocks:
        """Bedrock refuses empty texts; they say nothing."""
        if not part.text:
            return []
        own = [citation.raw for citation in part.citations if citation.family is Family.BEDROCK]
        if len(own) < len(part.citations):
            self._saying.drop("citations of earlier turns")
        return [{"citationsContent": {"content": [{"text": part.text}], "citations": own}} if own else {"text": part.text}]

    def _thought(self, part: Reasoning) -> Blocks:
        """Only what its author can check goes back: Claude's signatures are good here and at Anthropic."""
        is_own = part.family is Family.BEDROCK or (part.family is Family.ANTHROPIC and self._maker is Maker.CLAUDE)
        if is_own and part.signature:
            return [{"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}]
        if is_own and part.encrypted:
            return [{"reasoningContent": {"redactedContent": part.encrypted}}]
        self._saying.drop("reasoning of earlier turns")
        return []

    def _call(self, part: ToolCall, turn: int, number: int, path: str) -> Json:
        self.has_tools = True
        given: Any = {"input": part.arguments}
        if not part.is_custom:
            try:
                _ANY.decode(part.arguments or "{}")
            except (msgspec.MsgspecError, RecursionError):
                self._saying.refuse(path, "the arguments of a tool call must be a JSON object")
            given = msgspec.Raw((part.arguments or "{}").encode())
        return {
            "toolUse": {"toolUseId": fitting_id(self._calls.called(part, turn, number)), "name": part.name, "input": given}
        }

    def _result(self, part: ToolResult, path: str) -> Json:
        self.has_tools = True
        call_id, _ = self._calls.answered(part)
        content: Blocks = []
        for index, inner in enumerate(part.parts):
            if not isinstance(inner, Text | Image | Document | Opaque):
                self._saying.refuse(
                    f"{path}.content[{index}]", "Bedrock takes texts, images and documents as a tool's result"
                )
            content += self._blocks(inner, Role.USER, f"{path}.content[{index}]")
        told: Json = {"toolUseId": fitting_id(call_id), "content": [_as_result(block) for block in content]}
        if part.is_error and self._maker in TELLING_FAILURE:
            told["status"] = "error"
        elif part.is_error:
            self._saying.drop("tool_result.is_error")
        return {"toolResult": told}

    def _audio(self, part: Audio, role: Role, path: str) -> Blocks:
        """What a model said is told in its words."""
        if role is Role.ASSISTANT:
            if not part.transcript:
                self._saying.refuse(path, "an earlier answer can be told in words alone, and this one has no transcript")
            return [{"text": part.transcript}]
        return [self._media.audio(part, path)]

    def _opaque(self, part: Opaque, path: str) -> Json:
        if part.family is not Family.BEDROCK or part.kind not in _BLOCKS:
            self._saying.refuse(path, f"{part.kind!r} can only be read by {part.family.value}")
        self.has_tools |= part.kind in {"toolUse", "toolResult"}
        return dict(_MEMBERS.decode(part.raw))


def fitting_id(call_id: str) -> str:
    """Bedrock's ids are short and plain: another one is replaced by its digest, in the call and in its result alike."""
    return call_id if _ID.fullmatch(call_id) else f"call_{sha256(call_id.encode()).hexdigest()[:32]}"


def _as_result(block: Json) -> Json:
    """Results cite nothing."""
    cited = block.get("citationsContent")
    return cited["content"][0] if cited is not None else block
