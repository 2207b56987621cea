"""`generationConfig`: sampling, the form of the answer, and how much to think."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, OutputKind, Thinking
from router.providers.gemini.content_out import ContentWriter
from router.providers.gemini.wording import generation_of

Json = dict[str, Any]

_SOME, _MUCH = 2048, 8192
BUDGETS: Mapping[str, int] = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Tokens to think with, for models that take no level; Google's own route for OpenAI's callers has the same."""
LEVELS: Mapping[str, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}

_LEAST_PRO, _MOST_PRO, _MOST_FLASH = 128, 32768, 24576
_MODALITIES = {"text": "TEXT", "image": "IMAGE", "audio": "AUDIO"}
_PLAIN = "text"


class _Audio(msgspec.Struct):
    voice: Any = None
    format: str = ""


_AUDIO = msgspec.json.Decoder(_Audio)


def generation_config(query: ChatQuery, model: str, writer: ContentWriter) -> Json:
    """Raises UnsupportedFeature."""
    config = _sampling(query, writer)
    if query.cap is not None:
        config["maxOutputTokens"] = query.cap
    config |= _format(query, writer)
    config |= _modalities(query, writer)
    thinking = _thinking(query.thinking, model, writer) if query.thinking is not None else {}
    return config | ({"thinkingConfig": thinking} if thinking else {})


def _sampling(query: ChatQuery, writer: ContentWriter) -> Json:
    given = query.sampling
    if given.logit_bias:
        raise writer.refuse("logit_bias", "Gemini has nothing like it")
    said = {
        "temperature": given.temperature,
        "topP": given.top_p,
        "topK": given.top_k,
        "candidateCount": given.choices if given.choices != 1 else None,
        "stopSequences": list(given.stop) or None,
        "presencePenalty": given.presence_penalty,
        "frequencyPenalty": given.frequency_penalty,
        "seed": given.seed,
    }
    if given.logprobs:
        said |= {"responseLogprobs": True, "logprobs": given.top_logprobs or None}
    return {name: value for name, value in said.items() if value is not None}


def _format(query: ChatQuery, writer: ContentWriter) -> Json:
    told = query.format
    if told is None or told.kind is OutputKind.TEXT:
        return {}
    if told.description:
        writer.drop("response_format.description")
    mime: Json = {"responseMimeType": "application/json"}
    return mime | ({"responseJsonSchema": told.schema} if told.kind is OutputKind.SCHEMA and told.schema else {})


def _modalities(query: ChatQuery, writer: ContentWriter) -> Json:
    unknown = [name for name in query.modalities if name not in _MODALITIES]
    if unknown:
        raise writer.refuse("modalities", f"Gemini's answers are texts, images and sound, found {unknown[0]!r}")
    config: Json = {}
    if query.modalities and query.modalities != (_PLAIN,):
        is_spoken = "audio" in query.modalities
        config["responseModalities"] = [_MODALITIES[name] for name in query.modalities if name != _PLAIN or not is_spoken]
    if query.audio is not None:
        voice = {"voiceName": _voice(query.audio, writer)}
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": voice}}
    return config


def _voice(asked: msgspec.Raw, writer: ContentWriter) -> str:
    """Gemini speaks in samples of 16 bits at 24 kHz, which OpenAI calls pcm16, and in no other form."""
    try:
        told = _AUDIO.decode(asked)
    except msgspec.MsgspecError:
        raise writer.refuse("audio", "expected an object with a voice and a format") from None
    if told.format != "pcm16":
        raise writer.refuse("audio.format", f"Gemini speaks pcm16 only, found {told.format!r}")
    if not isinstance(told.voice, str):
        raise writer.refuse("audio.voice", "Gemini's voices have names")
    return told.voice


# -- thinking -------------------------------------------------------------------------------------------------


def _thinking(given: Thinking, model: str, writer: ContentWriter) -> Json:
    generation = generation_of(model)
    if generation < (2, 5):
        if given.effort not in {"", "none"} or given.is_on or (given.budget or 0) > 0:
            writer.drop("reasoning_effort")
        return {}
    if given.is_on is False or given.effort == "none" or given.budget == 0:
        return _silenced(model, generation)
    if given.summary in {"concise", "detailed"}:
        writer.drop("reasoning summary")
    config: Json = {"includeThoughts": given.summary != "none"}
    if generation >= (3, 0):
        effort = given.effort or _effort_of(given.budget)
        if effort:
            config["thinkingLevel"] = _level(effort, model)
    elif given.budget is not None and given.budget > 0:
        config["thinkingBudget"] = _fitting(given.budget, model)
    elif given.effort:
        config["thinkingBudget"] = BUDGETS.get(given.effort, BUDGETS["medium"])
    elif given.is_on or given.budget is not None:
        config["thinkingBudget"] = -1
    return config


def _silenced(model: str, generation: tuple[int, int]) -> Json:
    """No thinking, or for models that always think the least there is."""
    if generation >= (3, 0):
        return {"thinkingLevel": _level("minimal", model)}
    return {"thinkingBudget": _LEAST_PRO if "pro" in model else 0}


def _effort_of(budget: int | None) -> str:
    """The nearest word: from 3.5 on Gemini refuses budgets."""
    if budget is None or budget < 0:
        return ""
    if budget <= _SOME:
        return "low"
    return "medium" if budget <= _MUCH else "high"


def _level(effort: str, model: str) -> str:
    level = LEVELS.get(effort, "MEDIUM")
    return "LOW" if level == "MINIMAL" and "pro" in model else level


def _fitting(budget: int, model: str) -> int:
    """What is over a model's most is its most: Gemini refuses more."""
    return min(budget, _MOST_PRO if "pro" in model else _MOST_FLASH)
