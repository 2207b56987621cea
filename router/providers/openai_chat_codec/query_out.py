"""The canonical form as a Chat Completions request, for OpenAI itself and for those who speak like it."""

import re
from itertools import pairwise
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, Family, HostedTool, OutputFormat, OutputKind, Thinking, Tool, ToolChoice, ToolMode
from router.domain.errors import UnsupportedFeature
from router.providers.codec import Encoded
from router.providers.openai_chat_codec.accents import Accent
from router.providers.openai_chat_codec.messages_out import MessageWriter

DROPPED = {
    "reasoning of earlier turns": "no field of the dialect takes it, and it must not be told as the assistant's words",
    "citations of earlier turns": "no field of the dialect takes them; the text itself is sent",
    "cache_control": "OpenAI caches prompts on its own; a mark changes nothing of the answer",
    "tool_result.is_error": "no field of the dialect takes it; the result's text says what went wrong",
    "document.citations": "no answer of this dialect cites a document",
    "document.context": "no field of the dialect takes it",
    "thinking.disabled": "most models of the dialect do not think unasked and refuse to be told so",
    "thinking.summary": "the dialect tells no summaries",
    "encrypted reasoning": "the dialect has none",
    "top_k": "OpenAI and Groq have none; sampling is by temperature and top_p",
    "user": "Mistral takes no name of the user; the ledger keeps it",
    "store": "nothing is stored at Mistral",
    "service_tier": "Mistral has no tiers",
    "verbosity": "a hint on style, which Mistral and Groq do not take",
    "prompt_cache_key": "a hint for caches; Groq's is its own",
    "speaker's name": "Mistral has no names of speakers",
}
"""What is left out of a request, and why that is right."""

_EFFORT_BY_BUDGET = ((2048, "low"), (8192, "medium"))
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def encode_query(query: ChatQuery, model: str, target: str, accent: Accent) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    is_own = query.origin is Family.CHAT
    if not is_own and query.others:
        name = next(iter(query.others))
        raise UnsupportedFeature(f"{name} cannot be said to {target} (Chat Completions)", param=name)
    writer = MessageWriter(query, target, accent)
    body: dict[str, Any] = {"model": model, "messages": writer.messages()}
    dropped = writer.dropped
    _put_tools(body, query, target, dropped, accent)
    _put_sampling(body, query, accent, dropped)
    if query.format is not None:
        body["response_format"] = _format(query.format)
    if query.thinking is not None:
        body |= _thinking(query.thinking, dropped, accent, is_own=is_own)
    _put_rest(body, query, dropped)
    if not is_own:
        _accentuate(body, target, accent, dropped)
    if query.stream:
        body["stream"] = True
        if query.wants_usage if is_own else accent.asks_usage:
            body["stream_options"] = {"include_usage": True}
    if query.cap is not None:
        body[accent.cap] = query.cap
    for path, value in query.others.items():
        _restore(body, path, value)
    return Encoded(msgspec.json.encode(body), tuple(dropped))


def _put_sampling(body: dict[str, Any], query: ChatQuery, accent: Accent, dropped: dict[str, None]) -> None:
    sampling = query.sampling
    told = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        accent.seed: sampling.seed,
        "stop": sampling.stop or None,
        "n": sampling.choices,
        "logprobs": sampling.logprobs,
        "top_logprobs": sampling.top_logprobs,
        "logit_bias": sampling.logit_bias,
    }
    if sampling.top_k is not None and not accent.has_top_k and query.origin is not Family.CHAT:
        del told["top_k"]
        dropped["top_k"] = None
    body |= {name: value for name, value in told.items() if value is not None}


def _put_rest(body: dict[str, Any], query: ChatQuery, dropped: dict[str, None]) -> None:
    told = {
        "parallel_tool_calls": query.is_parallel,
        "verbosity": query.verbosity,
        "modalities": query.modalities or None,
        "audio": query.audio,
        "user": query.user,
        "metadata": query.metadata,
        "service_tier": query.service_tier,
        "store": query.store,
        "prompt_cache_key": query.cache_key,
    }
    body |= {name: value for name, value in told.items() if value is not None and value != ""}
    if query.cache is not None:
        dropped["cache_control"] = None


def _accentuate(body: dict[str, Any], target: str, accent: Accent, dropped: dict[str, None]) -> None:
    """What this server has no word for is left out or refused; a tier is told in its own."""
    for name in accent.refuses & body.keys():
        if body[name] != ("text",):
            raise UnsupportedFeature(f"{name} cannot be said to {target} (Chat Completions)", param=name)
        del body[name]
    for name in accent.drops & body.keys():
        del body[name]
        dropped[name] = None
    tier = body.get("service_tier")
    if accent.tiers is not None and tier is not None:
        if tier not in accent.tiers:
            raise UnsupportedFeature(f"service_tier: {target} has no tier {tier[:40]!r}", param="service_tier")
        body["service_tier"] = accent.tiers[tier]


def _thinking(thinking: Thinking, dropped: dict[str, None], accent: Accent, *, is_own: bool) -> dict[str, Any]:
    """A budget has no name here: it becomes the effort that comes nearest to it."""
    if is_own:
        told = {"max_tokens": thinking.budget, "enabled": thinking.is_on, "summary": thinking.summary or None}
        detail = {name: value for name, value in told.items() if value is not None}
        effort = {"reasoning_effort": thinking.effort} if thinking.effort else {}
        return effort | ({"reasoning": detail} if detail else {})
    if thinking.summary not in {"", "none"}:
        dropped["thinking.summary"] = None
    if thinking.wants_encrypted:
        dropped["encrypted reasoning"] = None
    if thinking.effort:
        return {"reasoning_effort": accent.efforts.get(thinking.effort, thinking.effort)}
    if thinking.is_on is False:
        dropped["thinking.disabled"] = None
        return {}
    if thinking.budget is None or thinking.budget < 0:
        return {}
    budget = thinking.budget
    return {"reasoning_effort": next((effort for most, effort in _EFFORT_BY_BUDGET if budget <= most), "high")}


# -- what may be called ---------------------------------------------------------------------------------------


def _put_tools(body: dict[str, Any], query: ChatQuery, target: str, dropped: dict[str, None], accent: Accent) -> None:
    """A choice among some tools offers only those, where no choice can name them."""
    choice, offered = query.tool_choice, query.tools
    if choice is not None and choice.mode is not ToolMode.NAMED and choice.names and not accent.has_allowed_tools:
        offered = tuple(tool for tool in offered if isinstance(tool, Tool) and tool.name in choice.names)
        choice = ToolChoice(choice.mode)
    tools = [_tool(tool, target) for tool in offered]
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = _tool_choice(choice, query)
    if query.origin is not Family.CHAT and any(isinstance(t, Tool) and t.cache is not None for t in query.tools):
        dropped["cache_control"] = None


def _tool(tool: Tool | HostedTool, target: str) -> dict[str, Any] | msgspec.Raw:
    if isinstance(tool, HostedTool):
        if tool.family is Family.CHAT:
            return tool.raw
        raise UnsupportedFeature(f"tools: {tool.kind} is run by its provider, not by {target}", param="tools")
    told: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        told["description"] = tool.description
    if tool.grammar is not None:
        if bytes(tool.grammar) != b"{}":
            told["format"] = tool.grammar
        return {"type": "custom", "custom": told}
    if bytes(tool.parameters):
        told["parameters"] = tool.parameters
    if tool.is_strict is not None:
        told["strict"] = tool.is_strict
    return {"type": "function", "function": told}


def _tool_choice(choice: ToolChoice, query: ChatQuery) -> str | dict[str, Any]:
    named = [_reference(name, query) for name in choice.names]
    if choice.mode is ToolMode.NAMED:
        return named[0]
    if not named:
        return choice.mode.value
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode.value, "tools": named}}


def _reference(name: str, query: ChatQuery) -> dict[str, Any]:
    is_custom = any(isinstance(tool, Tool) and tool.name == name and tool.grammar is not None for tool in query.tools)
    kind = "custom" if is_custom else "function"
    return {"type": kind, kind: {"name": name}}


def _format(told: OutputFormat) -> dict[str, Any]:
    """A schema needs a name here."""
    if told.kind is not OutputKind.SCHEMA:
        return {"type": "text" if told.kind is OutputKind.TEXT else "json_object"}
    shape: dict[str, Any] = {"name": told.name or "answer"}
    if told.description:
        shape["description"] = told.description
    if bytes(told.schema):
        shape["schema"] = told.schema
    if told.is_strict is not None:
        shape["strict"] = told.is_strict
    return {"type": "json_schema", "json_schema": shape}


# -- what has no place in the canonical form --------------------------------------------------------------------


def _restore(body: dict[str, Any], path: str, value: msgspec.Raw) -> None:
    """Put a member of our own dialect back where it was. A content that had become one string is a list again."""
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    place: Any = body
    try:
        for step, following in pairwise(steps):
            if isinstance(step, str) and isinstance(following, int) and isinstance(place.get(step), str):
                place[step] = [{"type": "text", "text": place[step]}]
            place = place.setdefault(step, {}) if isinstance(step, str) else place[step]
        place[steps[-1]] = value
    except (KeyError, IndexError, TypeError, AttributeError):
        raise UnsupportedFeature(f"{path} has no place in the request that is sent", param=path) from None
