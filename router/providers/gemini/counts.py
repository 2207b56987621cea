"""`usageMetadata` as our counts: thoughts are output, what Google's own tools read is input, and cached tokens are in it."""

from typing import Annotated, Any

import msgspec

from router.domain.usage import Usage
from router.providers.gemini.wording import modality_word, tier_of
from router.providers.usage import MAX_COUNT

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] | None
_NAMES = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
)
_SPOKEN = (b'"AUDIO"', b'"modality":4', b'"modality": 4')
_Five = tuple[int | None, int | None, int | None, int | None, int | None]


class _Sound(msgspec.Struct, rename="camel"):
    """Counts that are none; others are read more slowly."""

    prompt_token_count: _Count = None
    tool_use_prompt_token_count: _Count = None
    candidates_token_count: _Count = None
    thoughts_token_count: _Count = None
    cached_content_token_count: _Count = None


class _Aside(msgspec.Struct, rename="camel"):
    """What else the object says."""

    service_tier: Any = None
    traffic_type: Any = None
    prompt_tokens_details: Any = None
    candidates_tokens_details: Any = None


_SOUND = msgspec.json.Decoder(_Sound)
_ASIDE = msgspec.json.Decoder(_Aside)
_ANY = msgspec.json.Decoder(dict[str, Any])


class Meter:
    """What an answer or a stream has told. Counts are cumulative; what a later chunk does not tell stands."""

    __slots__ = ("_last", "_counts", "_audio", "_suspect")

    def __init__(self) -> None:
        self._last = b""
        self._counts: _Five = (None, None, None, None, None)
        self._audio = (0, 0)
        self._suspect = False

    def add(self, told: msgspec.Raw) -> Usage | None:
        """The usage up to now; None where nothing new was told. Never raises."""
        raw = bytes(told)
        if not raw or raw == self._last:
            return None
        self._last = raw
        try:
            sound = _SOUND.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            return self._add_odd(raw)
        return self._with(
            (
                sound.prompt_token_count,
                sound.tool_use_prompt_token_count,
                sound.candidates_token_count,
                sound.thoughts_token_count,
                sound.cached_content_token_count,
            )
        )

    def _add_odd(self, raw: bytes) -> Usage | None:
        """An object with a count that is no count: that one is left out, the rest is kept."""
        try:
            told = _ANY.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            return None
        prompt, tools, output, thoughts, cached = (self._count(told.get(name)) for name in _NAMES)
        return self._with((prompt, tools, output, thoughts, cached))

    def _with(self, later: _Five) -> Usage | None:
        """None where the prompt was never counted."""
        known = self._counts
        prompt = known[0] if later[0] is None else later[0]
        tools = known[1] if later[1] is None else later[1]
        output = known[2] if later[2] is None else later[2]
        thoughts = known[3] if later[3] is None else later[3]
        cached = known[4] if later[4] is None else later[4]
        self._counts = prompt, tools, output, thoughts, cached
        if prompt is None:
            return None
        if any(word in self._last for word in _SPOKEN):
            self._audio = _spoken(self._last)
        return Usage(
            prompt + (tools or 0),
            (output or 0) + (thoughts or 0),
            cached or 0,
            0,
            thoughts or 0,
            *self._audio,
            suspect=self._suspect,
        )

    def _count(self, value: object) -> int | None:
        if value is None or (type(value) is int and 0 <= value <= MAX_COUNT):
            return value
        self._suspect = True
        return None


def tier_told(told: msgspec.Raw) -> str:
    """The tier that a `usageMetadata` names, in the words that OpenAI made common; "" for none."""
    aside = _aside(bytes(told)) if told else _Aside()
    return tier_of(aside.service_tier, aside.traffic_type)


def _aside(raw: bytes) -> _Aside:
    try:
        return _ASIDE.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return _Aside()


def _spoken(raw: bytes) -> tuple[int, int]:
    """Tokens of sound in the prompt and in the answer."""
    aside = _aside(raw)
    return _sound_in(aside.prompt_tokens_details), _sound_in(aside.candidates_tokens_details)


def _sound_in(details: object) -> int:
    for item in details if isinstance(details, list) else ():
        if isinstance(item, dict) and modality_word(item.get("modality")) == "AUDIO":
            count = item.get("tokenCount")
            return count if type(count) is int and 0 <= count <= MAX_COUNT else 0
    return 0
