"""The canonical form as a Responses request."""

import re
from itertools import pairwise
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, Family, OutputFormat, OutputKind, Thinking, Tool
from router.domain.errors import UnsupportedFeature
from router.providers.codec import Encoded
from router.providers.openai_responses_codec.items_out import ItemWriter
from router.providers.openai_responses_codec.query_in import ENCRYPTED, LOGPROBS
from router.providers.openai_responses_codec.tools import written_choice, written_tools

Json = dict[str, Any]

DROPPED = {
    "reasoning of earlier turns": "only what its own author has sealed can be read again",
    "citations of earlier turns": "another family's citations have no place here; the text itself is sent",
    "cache_control": "OpenAI caches prompts on its own; a mark changes nothing of the answer",
    "tool_result.is_error": "no field of the dialect takes it; the result's text says what went wrong",
    "document.citations": "no answer of this dialect cites a document of the request",
    "document.context": "no field of the dialect takes it",
    "file's name": "a file by URL or id has its own",
    "thinking.disabled": "most models of the dialect do not think unasked and refuse to be told so",
    "speaker's name": "the dialect has no names of speakers",
    "seed": "a wish, which OpenAI calls best effort too",
    "top_k": "OpenAI has none; sampling is by temperature and top_p",
}
"""What is left out of a request, and why that is right."""

_EFFORT_BY_BUDGET = ((2048, "low"), (8192, "medium"))
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
# Models that do not think refuse to be asked for sealed thoughts.
_THOUGHTLESS = re.compile(r"(?:^|[/.:_-])(?:chatgpt-4|gpt-(?:3|4|5[\d.]*-chat))")


def encode_query(query: ChatQuery, model: str, target: str) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    is_own = query.origin is Family.RESPONSES
    if not is_own:
        _check(query, target)
    writer = ItemWriter(query, target)
    instructions, items = writer.said()
    body: Json = {"model": model, "input": items}
    if instructions:
        body["instructions"] = instructions
    dropped = writer.dropped
    _put_tools(body, query, target, dropped)
    _put_sampling(body, query, dropped)
    _put_text(body, query)
    _put_thinking(body, query, model, dropped)
    _put_rest(body, query, dropped)
    for path, value in query.others.items():
        _restore(body, path, value)
    return Encoded(msgspec.json.encode(body), tuple(dropped))


def _check(query: ChatQuery, target: str) -> None:
    """Raise UnsupportedFeature for what this dialect has no words for."""
    given = query.sampling
    asked = (
        (next(iter(query.others), ""), bool(query.others)),
        ("stop", given.stop),
        ("n", given.choices not in {None, 1}),
        ("logit_bias", given.logit_bias),
        ("frequency_penalty", given.frequency_penalty),
        ("presence_penalty", given.presence_penalty),
        ("modalities", query.audio is not None or set(query.modalities) - {"text"}),
    )
    for name, value in asked:
        if value:
            raise UnsupportedFeature(f"{name} cannot be said to {target} (Responses)", param=name)


def _put_tools(body: Json, query: ChatQuery, target: str, dropped: dict[str, None]) -> None:
    is_own = query.origin is Family.RESPONSES
    if query.tools:
        body["tools"] = written_tools(query.tools, target, is_own=is_own)
    if query.tool_choice is not None:
        body["tool_choice"] = written_choice(query.tool_choice, query.tools)
    if not is_own and any(isinstance(tool, Tool) and tool.cache is not None for tool in query.tools):
        dropped["cache_control"] = None


def _put_sampling(body: Json, query: ChatQuery, dropped: dict[str, None]) -> None:
    sampling = query.sampling
    told = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_logprobs": sampling.top_logprobs,
        "max_output_tokens": query.cap,
    }
    body |= {name: value for name, value in told.items() if value is not None}
    for name, value in (("seed", sampling.seed), ("top_k", sampling.top_k)):
        if value is not None:
            dropped[name] = None
    if sampling.logprobs:
        body["include"] = [LOGPROBS]


def _put_text(body: Json, query: ChatQuery) -> None:
    text: Json = {}
    if query.format is not None:
        text["format"] = format_object(query.format)
    if query.verbosity:
        text["verbosity"] = query.verbosity
    if text:
        body["text"] = text


def format_object(told: OutputFormat) -> Json:
    """A schema needs a name here."""
    if told.kind is not OutputKind.SCHEMA:
        return {"type": "text" if told.kind is OutputKind.TEXT else "json_object"}
    shape: Json = {"type": "json_schema", "name": told.name or "answer"}
    if told.description:
        shape["description"] = told.description
    shape["schema"] = told.schema or {}
    if told.is_strict is not None:
        shape["strict"] = told.is_strict
    return shape


def _put_thinking(body: Json, query: ChatQuery, model: str, dropped: dict[str, None]) -> None:
    """Thoughts that are sealed survive to the next turn, so they are asked for wherever a model may think."""
    thinking = query.thinking or Thinking()
    is_own = query.origin is Family.RESPONSES
    effort = thinking.effort or _effort(thinking)
    if not effort and thinking.is_on is False:
        dropped["thinking.disabled"] = None
    told = {"effort": effort, "summary": "" if thinking.summary == "none" else thinking.summary}
    reasoning = {name: value for name, value in told.items() if value}
    if reasoning:
        body["reasoning"] = reasoning
    if thinking.wants_encrypted or (not is_own and not _THOUGHTLESS.search(model)):
        body["include"] = [*body.get("include", []), ENCRYPTED]


def _effort(thinking: Thinking) -> str:
    """A budget has no name here: it becomes the effort that comes nearest to it."""
    budget = thinking.budget
    if budget is None or budget < 0 or thinking.is_on is False:
        return ""
    return next((effort for most, effort in _EFFORT_BY_BUDGET if budget <= most), "high")


def _put_rest(body: Json, query: ChatQuery, dropped: dict[str, None]) -> None:
    """Nothing is kept at a provider whose caller did not ask for it."""
    is_own = query.origin is Family.RESPONSES
    told = {
        "parallel_tool_calls": query.is_parallel,
        "user": query.user,
        "metadata": query.metadata,
        "service_tier": query.service_tier,
        "prompt_cache_key": query.cache_key,
        "store": query.store if query.store is not None or is_own else False,
        "stream": True if query.stream else None,
    }
    body |= {name: value for name, value in told.items() if value is not None and value != ""}
    if query.cache is not None:
        dropped["cache_control"] = None


# -- what has no place in the canonical form --------------------------------------------------------------------


def _restore(body: Json, path: str, value: msgspec.Raw) -> None:
    """Put a member of our own dialect back where it was. A content that had become one string is a list again."""
    if path == "include":
        body["include"] = [*body.get("include", []), *msgspec.json.decode(value)]
        return
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    place: Any = body
    try:
        for step, following in pairwise(steps):
            if isinstance(step, str) and isinstance(following, int) and isinstance(place.get(step), str):
                kind = "output_text" if place.get("role") == "assistant" else "input_text"
                place[step] = [{"type": kind, "text": place[step]}]
            place = place.setdefault(step, {}) if isinstance(step, str) else place[step]
        place[steps[-1]] = value
    except (KeyError, IndexError, TypeError, AttributeError):
        raise UnsupportedFeature(f"{path} has no place in the request that is sent", param=path) from None
