"""The shapes of answers and chunks on the wire, as far as they are read; the chunks of a stream are answers too."""

from datetime import datetime
from typing import Any

import msgspec

from router.domain.chat import Audio, Document, Family, Image, Logprob, Opaque, Part, Reasoning, Source, Text, ToolCall
from router.providers.call_ids import made_call_id


class Called(msgspec.Struct):
    id: Any = None
    name: Any = None
    args: msgspec.Raw = msgspec.Raw()


class Blob(msgspec.Struct, rename="camel"):
    mime_type: Any = None
    data: Any = None
    file_uri: Any = None
    display_name: Any = None


class Said(msgspec.Struct, rename="camel"):
    """A part, but for those kinds that only Gemini can read."""

    text: Any = None
    thought: Any = None
    thought_signature: Any = None
    function_call: Called | None = None
    inline_data: Blob | None = None
    file_data: Blob | None = None


class Content(msgspec.Struct):
    parts: list[msgspec.Raw] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    index: Any = 0
    content: Content | None = None
    finish_reason: Any = None
    finish_message: Any = None
    logprobs_result: Any = None
    grounding_metadata: Any = None
    citation_metadata: Any = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: Any = None
    block_reason_message: Any = None


class Told(msgspec.Struct, rename="camel"):
    """A whole answer, or one chunk."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    model_version: Any = None
    response_id: Any = None
    create_time: Any = None
    error: Any = None


TOLD = msgspec.json.Decoder(Told)
_PART = msgspec.json.Decoder(Said)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ASIDE = frozenset({"thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"})


def text_of(value: object) -> str:
    """`value` where it is a string, else ""."""
    return value if isinstance(value, str) else ""


def read_part(raw: msgspec.Raw) -> Part | None:
    """A part of an answer; None where it says nothing. A call without an id has none yet. Raises ValueError (a
    msgspec.MsgspecError) where it is no part."""
    said = _PART.decode(raw)
    signature = text_of(said.thought_signature)
    if isinstance(said.text, str):
        if said.thought is True:
            return Reasoning(said.text, Family.GEMINI, signature)
        return Text(said.text, signature=signature) if said.text or signature else None
    if said.function_call is not None:
        return _call(said.function_call, signature)
    if said.inline_data is not None:
        return _medium(said.inline_data, Source(text_of(said.inline_data.mime_type), data=text_of(said.inline_data.data)))
    if said.file_data is not None:
        return _medium(said.file_data, Source(text_of(said.file_data.mime_type), url=text_of(said.file_data.file_uri)))
    members = _MEMBERS.decode(raw)
    kind = next((name for name in members if name not in _ASIDE), "")
    return Opaque(Family.GEMINI, kind, raw) if kind else None


def _call(called: Called, signature: str) -> ToolCall:
    args = bytes(called.args)
    arguments = args.decode() if args and args != b"null" else "{}"
    return ToolCall(text_of(called.id), text_of(called.name), arguments, signature=signature, family=Family.GEMINI)


def _medium(blob: Blob, source: Source) -> Part:
    kind = source.media_type
    if kind.startswith("image/"):
        return Image(source)
    return Audio(source) if kind.startswith("audio/") else Document(source, text_of(blob.display_name))


def call_id(call: ToolCall, answer: str, choice: int, number: int) -> ToolCall:
    """The call with its id, made of the answer's where Gemini gave none: two answers never make the same."""
    if call.id:
        return call
    return msgspec.structs.replace(call, id=made_call_id(choice, number, answer))


# -- beside the content ---------------------------------------------------------------------------------------


def seconds_of(moment: object) -> int:
    """Seconds since the epoch of an RFC 3339 time, 0 where it is none."""
    try:
        return int(datetime.fromisoformat(moment).timestamp()) if isinstance(moment, str) else 0
    except (ValueError, OverflowError):
        return 0


def logprobs_of(result: object) -> tuple[Logprob, ...]:
    """The tokens of `logprobsResult`, each with its alternatives."""
    if not isinstance(result, dict):
        return ()
    chosen, top = result.get("chosenCandidates"), result.get("topCandidates")
    if not isinstance(chosen, list):
        return ()
    others = top if isinstance(top, list) else []
    return tuple(
        msgspec.structs.replace(one, top=_alternatives(others[at] if at < len(others) else None))
        for at, item in enumerate(chosen)
        if (one := _logprob(item)) is not None
    )


def _alternatives(item: object) -> tuple[Logprob, ...]:
    found = item.get("candidates") if isinstance(item, dict) else None
    return tuple(one for each in found if (one := _logprob(each)) is not None) if isinstance(found, list) else ()


def _logprob(item: object) -> Logprob | None:
    if not isinstance(item, dict) or not isinstance(item.get("token"), str):
        return None
    value = item.get("logProbability")
    return Logprob(item["token"], float(value) if isinstance(value, int | float) else 0.0)
