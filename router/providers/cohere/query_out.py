"""A request in common words as one of Cohere's chat, version 2."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, OutputFormat, OutputKind, Thinking, Tool, ToolMode
from router.providers.codec import Encoded
from router.providers.cohere.messages_out import MessageWriter
from router.providers.saying import Saying, offered

DROPPED: Mapping[str, str] = {
    "reasoning of earlier turns": "only Cohere's own thoughts go back to it",
    "citations of earlier turns": "the text itself is sent",
    "cache_control": "Cohere caches prompts on its own; a mark changes nothing of the answer",
    "tool_result.is_error": "no field takes it; the result's text says what went wrong",
    "speaker's name": "Cohere has no names of speakers",
    "response_format.description": "the schema is all that is taken",
    "thinking.summary": "Cohere tells its thoughts whole",
    "encrypted reasoning": "Cohere seals no thoughts",
    "verbosity": "a hint on style that Cohere does not take",
    "user": "Cohere takes no name of the user; the ledger keeps it",
    "metadata": "Cohere takes none; the ledger keeps it",
    "store": "nothing is stored at Cohere",
    "prompt_cache_key": "a hint for caches; Cohere's is its own",
    "service_tier": "Cohere has one tier, and `auto` and `default` are it",
}
"""What is left out without a refusal, and why."""

OWN = frozenset({"documents", "citation_options", "safety_mode", "strict_tools", "priority"})
"""Cohere's own fields, which a caller of any API may send along."""

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 32768}
"""Tokens to think, by effort; half of the cap at most."""

_LEAST_P, _MOST_P = 0.01, 0.99
_TIERS = frozenset({"auto", "default", "standard"})
_NO_PARAMETERS = {"type": "object", "properties": {}}


def encode_query(query: ChatQuery, model: str, target: str) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    saying = Saying(target, "Cohere chat")
    writer = MessageWriter(query, saying)
    body: dict[str, Any] = {"model": model, "messages": writer.messages()}
    if writer.documents:
        body["documents"] = writer.documents
    _put_tools(body, query, saying)
    if query.format is not None and query.format.kind is not OutputKind.TEXT:
        body["response_format"] = _format(query.format, body, saying)
    if query.thinking is not None:
        body |= _thinking(query.thinking, query.cap, saying)
    _put_sampling(body, query, saying)
    _drop_rest(query, saying)
    body["stream"] = query.stream
    if query.cap is not None:
        body["max_tokens"] = query.cap
    for name, value in query.others.items():
        if name not in OWN:
            saying.refuse(name, "Cohere has nothing like it")
        body[name] = value
    return Encoded(msgspec.json.encode(body), saying.dropped)


# -- what may be called -----------------------------------------------------------------------------------------


def _put_tools(body: dict[str, Any], query: ChatQuery, saying: Saying) -> None:
    tools, mode = offered(query, saying)
    if not tools:
        if mode is ToolMode.REQUIRED:
            saying.refuse("tool_choice", "there is no tool to call")
        return
    if query.is_parallel is False:
        saying.refuse("parallel_tool_calls", "Cohere may always call several tools at once")
    body["tools"] = [_tool(tool) for tool in tools]
    if any(tool.is_strict for tool in tools):
        body["strict_tools"] = True
    if mode is not ToolMode.AUTO:
        body["tool_choice"] = mode.value.upper()


def _tool(tool: Tool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        told["description"] = tool.description
    told["parameters"] = tool.parameters if bytes(tool.parameters) else _NO_PARAMETERS
    return {"type": "function", "function": told}


# -- how to answer ----------------------------------------------------------------------------------------------


def _format(told: OutputFormat, body: dict[str, Any], saying: Saying) -> dict[str, Any]:
    for name in ("tools", "documents"):
        if name in body:
            saying.refuse("response_format", f"Cohere takes none beside {name}")
    if told.description:
        saying.drop("response_format.description")
    schema = {"json_schema": told.schema} if bytes(told.schema) else {}
    return {"type": "json_object"} | schema


def _thinking(thinking: Thinking, cap: int | None, saying: Saying) -> dict[str, Any]:
    """An effort is a budget; without either, Cohere's models that can think do."""
    if thinking.summary not in {"", "none"}:
        saying.drop("thinking.summary")
    if thinking.wants_encrypted:
        saying.drop("encrypted reasoning")
    if thinking.is_on is False or thinking.effort == "none" or thinking.budget == 0:
        return {"thinking": {"type": "disabled"}}
    budget = thinking.budget
    if budget is None and thinking.effort:
        budget = BUDGETS.get(thinking.effort, BUDGETS["medium"])
        budget = budget if cap is None else max(1, min(budget, cap // 2))
    if budget is None and not thinking.is_on:
        return {}
    return {"thinking": {"type": "enabled"} | ({"token_budget": budget} if budget is not None and budget > 0 else {})}


def _put_sampling(body: dict[str, Any], query: ChatQuery, saying: Saying) -> None:
    given = query.sampling
    for name, penalty in (("frequency_penalty", given.frequency_penalty), ("presence_penalty", given.presence_penalty)):
        if penalty is not None and not 0 <= penalty <= 1:
            saying.refuse(name, f"Cohere takes 0 to 1, found {penalty:g}")
    for name, asked in (
        ("n", (given.choices or 1) > 1),
        ("logit_bias", given.logit_bias),
        ("top_logprobs", given.top_logprobs),
    ):
        if asked:
            saying.refuse(name, "Cohere has nothing like it")
    told = {
        "temperature": given.temperature,
        "p": given.top_p if given.top_p is None else min(max(given.top_p, _LEAST_P), _MOST_P),
        "k": given.top_k,
        "frequency_penalty": given.frequency_penalty,
        "presence_penalty": given.presence_penalty,
        "seed": given.seed,
        "stop_sequences": given.stop or None,
        "logprobs": given.logprobs or None,
    }
    body |= {name: value for name, value in told.items() if value is not None}


def _drop_rest(query: ChatQuery, saying: Saying) -> None:
    if query.service_tier and query.service_tier not in _TIERS:
        saying.refuse("service_tier", f"Cohere has no tier {query.service_tier[:40]!r}")
    saying.drop_rest(query, "Cohere")
