"""The shapes of answers and chunks on the wire, as far as they are read: lenient, since no two servers write them alike."""

from typing import Any

import msgspec

from router.domain.chat import Citation, Family, Finish, Image, Logprob
from router.providers.openai_chat_codec.media import source_of
from router.providers.usage import Counts, counts_of


class Function(msgspec.Struct):
    name: Any = None
    arguments: Any = None
    input: Any = None


class Call(msgspec.Struct):
    index: Any = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: Any = None


class Sound(msgspec.Struct):
    id: Any = None
    data: Any = None
    transcript: Any = None
    expires_at: Any = None


class Said(msgspec.Struct):
    """A message, or what a chunk adds to it."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    audio: Sound | None = None
    annotations: Any = None
    images: Any = None


class Option(msgspec.Struct):
    index: Any = 0
    message: Said | None = None
    delta: Said | None = None
    finish_reason: Any = None
    stop_reason: Any = None
    logprobs: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None


class _Grouped(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class Told(msgspec.Struct):
    """A whole answer or one chunk."""

    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[Option] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    x_groq: _Grouped | None = None
    service_tier: Any = None
    system_fingerprint: Any = None
    error: Any = None
    citations: Any = None
    search_results: Any = None

    def counts(self) -> Counts | None:
        """Groq tells them beside the chunk too, Moonshot with the choice that ends."""
        counts = counts_of(self.usage) or (counts_of(self.x_groq.usage) if self.x_groq is not None else None)
        if counts is None and self.choices:
            return next((found for option in self.choices if (found := counts_of(option.usage)) is not None), None)
        return counts


TOLD = msgspec.json.Decoder(Told)

_FINISHES = {
    "stop": Finish.STOP,
    "complete": Finish.STOP,
    "completed": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP_SEQUENCE,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.CONTEXT,
    "tool_calls": Finish.TOOLS,
    "tool_use": Finish.TOOLS,
    "function_call": Finish.TOOLS,
    "content_filter": Finish.FILTERED,
    "safety": Finish.FILTERED,
    "recitation": Finish.FILTERED,
    "refusal": Finish.REFUSED,
    "function_call_filter": Finish.MALFORMED,
    "malformed_function_call": Finish.MALFORMED,
}
FAILURES = {"error": 502, "insufficient_system_resource": 503}
"""Finish reasons that say that the server itself failed, whatever was said before: each with the status it comes near."""
_OPEN_ENDS = frozenset({Finish.STOP, Finish.UNKNOWN})


def finish_of(said: str, *, has_calls: bool, has_refused: bool) -> Finish:
    """A forced call ends with `stop`, some servers say nothing: what was called or refused tells more than the word."""
    finish = _FINISHES.get(said)
    if finish is None:
        # Some say more behind a colon (`content_filter: SAFETY`), some in capitals or with a hyphen.
        finish = _FINISHES.get(said.partition(":")[0].strip().lower().replace("-", "_"), Finish.UNKNOWN)
    if finish in _OPEN_ENDS and has_calls:
        return Finish.TOOLS
    if finish in _OPEN_ENDS and has_refused:
        return Finish.REFUSED
    return finish


def text_of(value: object) -> str:
    """`value` where it is a string, else ""."""
    return value if isinstance(value, str) else ""


def arguments_of(value: object) -> str:
    """Arguments are JSON text; some servers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def seconds_of(value: object) -> int:
    """Seconds since the epoch, 0 where it is no such number."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0


def logprobs_of(value: object) -> tuple[Logprob, ...]:
    """The members of a `logprobs.content` or `.refusal`; what is none is left out."""
    items = value if isinstance(value, list) else ()
    return tuple(_logprob(item) for item in items if isinstance(item, dict) and isinstance(item.get("token"), str))


def _logprob(item: dict[str, Any]) -> Logprob:
    value, data = item.get("logprob"), item.get("bytes")
    is_bytes = isinstance(data, list) and all(isinstance(byte, int) for byte in data)
    return Logprob(
        token=item["token"],
        logprob=float(value) if isinstance(value, int | float) else 0.0,
        data=tuple(data) if is_bytes and data is not None else None,
        top=logprobs_of(item.get("top_logprobs")),
    )


def signed(call: Call) -> dict[str, Any]:
    """What Gemini signed of a call, as Google tells it: members of a ToolCall. Only a server of this dialect reads it."""
    extra = call.extra_content
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = text_of(google.get("thought_signature")) if isinstance(google, dict) else ""
    return {"signature": signature, "family": Family.CHAT} if signature else {}


def images_of(value: object) -> tuple[Image, ...]:
    """Images that a model made, as OpenRouter tells them."""
    found: list[Image] = []
    for item in value if isinstance(value, list) else ():
        told = item.get("image_url") if isinstance(item, dict) else None
        url = told.get("url") if isinstance(told, dict) else told
        if isinstance(url, str) and url:
            found.append(Image(source_of(url)))
    return tuple(found)


def found_in(told: Told) -> tuple[Citation, ...]:
    """What a search beside the answer has found, and its text names by number: Perplexity's results, xAI's addresses."""
    if isinstance(told.search_results, list) and told.search_results:
        results = [item for item in told.search_results if isinstance(item, dict)]
    else:
        addresses = told.citations if isinstance(told.citations, list) else ()
        results = [{"url": address} for address in addresses if isinstance(address, str)]
    return tuple(
        Citation(
            Family.CHAT,
            msgspec.Raw(msgspec.json.encode(item)),
            url=text_of(item.get("url")),
            title=text_of(item.get("title")),
            quote=text_of(item.get("snippet")),
        )
        for item in results
    )


def citations_of(value: object) -> tuple[Citation, ...]:
    """The annotations of a message."""
    items = value if isinstance(value, list) else ()
    return tuple(_citation(item) for item in items if isinstance(item, dict))


def _citation(item: dict[str, Any]) -> Citation:
    told = item.get("url_citation")
    cited: dict[str, Any] = told if isinstance(told, dict) else {}
    start, end = cited.get("start_index"), cited.get("end_index")
    return Citation(
        family=Family.CHAT,
        raw=msgspec.Raw(msgspec.json.encode(item)),
        url=text_of(cited.get("url")),
        title=text_of(cited.get("title")),
        quote=text_of(cited.get("content")),
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
    )
