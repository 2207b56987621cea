"""A request in common words as one of Ollama's own chat."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, OutputFormat, OutputKind, Thinking, Tool, ToolMode
from router.providers.codec import Encoded
from router.providers.ollama.messages_out import MessageWriter
from router.providers.saying import Saying, offered

DROPPED: Mapping[str, str] = {
    "reasoning of earlier turns": "thoughts that are sealed can only be read by the family that sealed them",
    "citations of earlier turns": "the text itself is sent",
    "cache_control": "Ollama keeps the prompt of a loaded model on its own",
    "tool_result.is_error": "no field takes it; the result's text says what went wrong",
    "speaker's name": "Ollama has no names of speakers",
    "image detail": "Ollama scales images itself",
    "document.citations": "no answer of Ollama's cites a document",
    "strict": "Ollama holds no call to its schema",
    "response_format.description": "the schema is all that is taken",
    "thinking.summary": "Ollama tells thoughts whole",
    "encrypted reasoning": "Ollama seals no thoughts",
    "verbosity": "a hint on style that Ollama does not take",
    "user": "Ollama takes no name of the user; the ledger keeps it",
    "metadata": "Ollama takes none; the ledger keeps it",
    "store": "nothing is stored at Ollama",
    "prompt_cache_key": "a hint for caches; Ollama's is its own",
    "service_tier": "Ollama has no tiers",
}
"""What is left out without a refusal, and why."""

OWN = frozenset({"options", "keep_alive", "think"})
"""Ollama's own fields, which a caller of any API may send along."""

_BY_DEGREES = "gpt-oss"
"""In the name of a model that thinks by degrees; the others think or do not."""
_DEGREES = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_DEGREE_BY_BUDGET = ((2048, "low"), (8192, "medium"))
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_query(query: ChatQuery, model: str, target: str) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    saying = Saying(target, "Ollama chat")
    body: dict[str, Any] = {"model": model, "messages": MessageWriter(query, saying).messages()}
    _put_tools(body, query, saying)
    if query.format is not None and query.format.kind is not OutputKind.TEXT:
        body["format"] = _format(query.format, saying)
    if query.thinking is not None:
        body |= _thinking(query.thinking, model, saying)
    options = _options(query, saying)
    if query.sampling.logprobs:
        body["logprobs"] = True
        if query.sampling.top_logprobs:
            body["top_logprobs"] = query.sampling.top_logprobs
    saying.drop_rest(query, "Ollama")
    # A request that does not say is answered with a stream.
    body["stream"] = query.stream
    for name, value in query.others.items():
        if name not in OWN:
            saying.refuse(name, "Ollama has nothing like it")
        if name == "options":
            options = _given_options(value, saying) | options
        else:
            body[name] = value
    if options:
        body["options"] = options
    return Encoded(msgspec.json.encode(body), saying.dropped)


def _put_tools(body: dict[str, Any], query: ChatQuery, saying: Saying) -> None:
    """A choice of none offers none; nothing makes a model call one."""
    tools, mode = offered(query, saying)
    if mode is ToolMode.REQUIRED:
        saying.refuse("tool_choice", "nothing makes a model of Ollama's call a tool")
    if not tools or mode is ToolMode.NONE:
        return
    if query.is_parallel is False:
        saying.refuse("parallel_tool_calls", "a model of Ollama's may always call several tools at once")
    if any(tool.is_strict for tool in tools):
        saying.drop("strict")
    body["tools"] = [_tool(tool) for tool in tools]


def _tool(tool: Tool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name, "description": tool.description or ""}
    told["parameters"] = tool.parameters if bytes(tool.parameters) else {"type": "object", "properties": {}}
    return {"type": "function", "function": told}


def _format(told: OutputFormat, saying: Saying) -> Any:
    if told.description:
        saying.drop("response_format.description")
    return told.schema if bytes(told.schema) else "json"


def _thinking(thinking: Thinking, model: str, saying: Saying) -> dict[str, Any]:
    if thinking.summary not in {"", "none"}:
        saying.drop("thinking.summary")
    if thinking.wants_encrypted:
        saying.drop("encrypted reasoning")
    if thinking.is_on is False or thinking.effort == "none" or thinking.budget == 0:
        return {"think": False}
    if not (thinking.effort or thinking.is_on or thinking.budget):
        return {}
    if _BY_DEGREES not in model:
        return {"think": True}
    if thinking.effort:
        return {"think": _DEGREES.get(thinking.effort, "medium")}
    budget = thinking.budget
    if budget is None or budget < 0:
        return {"think": True}
    return {"think": next((degree for most, degree in _DEGREE_BY_BUDGET if budget <= most), "high")}


def _options(query: ChatQuery, saying: Saying) -> dict[str, Any]:
    given = query.sampling
    for name, asked in (("n", (given.choices or 1) > 1), ("logit_bias", given.logit_bias)):
        if asked:
            saying.refuse(name, "Ollama has nothing like it")
    told = {
        "temperature": given.temperature,
        "top_p": given.top_p,
        "top_k": given.top_k,
        "frequency_penalty": given.frequency_penalty,
        "presence_penalty": given.presence_penalty,
        "seed": given.seed,
        "stop": given.stop or None,
        "num_predict": query.cap,
    }
    return {name: value for name, value in told.items() if value is not None}


def _given_options(value: msgspec.Raw, saying: Saying) -> dict[str, Any]:
    try:
        return dict(_MEMBERS.decode(value))
    except msgspec.MsgspecError:
        return saying.refuse("options", "expected an object")
