"""What a model thought, as providers of this dialect tell it: `reasoning_content`, `reasoning`, `reasoning_details`.

OpenAI's own schema has none of them. The details are OpenRouter's: they alone carry signatures and encrypted blocks, and
their `format` says whose they are.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from router.domain.chat import Family, Part, Reasoning
from router.providers.openai_chat_codec.members import Members

_FORMATS = {
    Family.ANTHROPIC: "anthropic-claude-v1",
    Family.RESPONSES: "openai-responses-v1",
    Family.GEMINI: "google-gemini-v1",
    Family.BEDROCK: "amazon-bedrock-converse-v1",
    Family.COHERE: "cohere-chat-v2",
    Family.CHAT: "unknown",
}
_FAMILIES = {name: family for family, name in _FORMATS.items()} | {"xai-responses-v1": Family.RESPONSES}


def google_signature(signature: str) -> dict[str, Any]:
    """What Gemini signed beside its thoughts, a call or a text, as Google tells OpenAI's callers; nothing for ""."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def read_google_signature(members: Members) -> str:
    """What `google_signature` wrote, given back with a message or a call."""
    extra = members.members("extra_content")
    google = extra.members("google") if extra is not None else None
    return google.text("thought_signature") if google is not None else ""


def read_reasoning(said: dict[str, Any]) -> tuple[Reasoning, ...]:
    """The reasoning of one message. The details, where there are any, say the same as the plain text and more."""
    details = said.get("reasoning_details")
    if isinstance(details, list):
        found = [part for part in _joined(details) if part.text or part.encrypted or part.signature]
        if found:
            return tuple(found)
    text = plain_reasoning(said)
    return (Reasoning(text, Family.CHAT),) if text else ()


def plain_reasoning(said: dict[str, Any]) -> str:
    """The text by either of its names; providers that send both send the same in them."""
    for name in ("reasoning_content", "reasoning"):
        text = said.get(name)
        if isinstance(text, str) and text:
            return text
    return ""


def _joined(details: list[Any]) -> Iterable[Reasoning]:
    """Callers of streams send back what they gathered: the pieces of one detail, by type and index, are one again."""
    last: tuple[object, ...] = ()
    whole: list[Reasoning] = []
    for detail in details:
        if not isinstance(detail, dict):
            continue
        piece, place = _read_detail(detail), (detail.get("type"), detail.get("index"), detail.get("format"))
        if whole and place == last and piece.text + whole[-1].text and not (whole[-1].signature or piece.encrypted):
            text, signature = whole[-1].text + piece.text, piece.signature
            whole[-1] = msgspec.structs.replace(whole[-1], text=text, signature=signature)
        else:
            whole.append(piece)
        last = place
    return whole


def _read_detail(detail: dict[str, Any]) -> Reasoning:
    kind, family = detail.get("type"), _FAMILIES.get(_text(detail, "format"), Family.CHAT)
    is_summary = kind == "reasoning.summary"
    return Reasoning(
        text=_text(detail, "summary" if is_summary else "text"),
        family=family,
        signature=_text(detail, "signature"),
        encrypted=_text(detail, "data"),
        id=_text(detail, "id"),
        is_summary=is_summary,
    )


def _text(detail: dict[str, Any], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""


def written_reasoning(parts: Iterable[Part]) -> dict[str, Any]:
    """The members that tell the reasoning among `parts`: the plain text, and the details where that does not say it all."""
    found = [part for part in parts if isinstance(part, Reasoning)]
    members: dict[str, Any] = {}
    text = "\n\n".join(part.text for part in found if part.text)
    if text:
        members["reasoning_content"] = text
    if any(is_sealed(part) for part in found):
        members["reasoning_details"] = [detail_of(part, index) for index, part in enumerate(found)]
    return members


def is_sealed(part: Reasoning) -> bool:
    """Whether there is more to it than a text."""
    return bool(part.signature or part.encrypted or part.id) or part.family not in {None, Family.CHAT}


def detail_of(part: Reasoning, index: int) -> dict[str, Any]:
    """One of `reasoning_details`."""
    shape: dict[str, Any]
    if part.is_summary:
        shape = {"type": "reasoning.summary", "summary": part.text}
    elif part.encrypted and not part.text:
        shape = {"type": "reasoning.encrypted", "data": part.encrypted}
    else:
        shape = {"type": "reasoning.text", "text": part.text}
    more = {"signature": part.signature, "data": part.encrypted, "id": part.id}
    shape |= {name: value for name, value in more.items() if value and name not in shape}
    return shape | {"format": _FORMATS.get(part.family or Family.CHAT, "unknown"), "index": index}
