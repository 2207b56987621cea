"""A request in common words as one of Converse or ConverseStream: the bodies are the same, the URLs are not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router.domain.chat import (
    ChatQuery,
    Family,
    OutputFormat,
    OutputKind,
    Part,
    Role,
    ToolResult,
    Turn,
)
from router.providers.bedrock.content_out import Blocks, BlockWriter
from router.providers.bedrock.family import Maker, maker_of
from router.providers.bedrock.thinking import thinking_fields
from router.providers.bedrock.tools_out import Draft, put_tools
from router.providers.bedrock.wording import TIERS_ASKED
from router.providers.codec import Encoded
from router.providers.saying import Saying, asked_beyond

DROPPED: Mapping[str, str] = {
    "reasoning of earlier turns": "only signed or sealed thoughts of Bedrock's models, and Claude's from anywhere, go back",
    "citations of earlier turns": "another family's citations have no place in Bedrock's; the text itself is sent",
    "cache_control": "of Bedrock's models Claude and Nova alone cache by marks",
    "tool_result.is_error": "of Bedrock's models Claude and Nova alone take it; the result's text says what went wrong",
    "image detail": "no field takes it",
    "file's name": "a video has none",
    "speaker's name": "Bedrock has no names of speakers",
    "seed": "a wish, which OpenAI calls best effort too; no field takes it",
    "verbosity": "a hint on style that no field takes",
    "user": "Bedrock takes no name of the user; the ledger keeps it",
    "metadata": "Bedrock takes up to 16 short plain texts, and these are others; the ledger keeps them",
    "store": "nothing is stored at Bedrock",
    "prompt_cache_key": "a hint for caches; Bedrock's are marked in the content",
    "reasoning_effort": "the model is not known to take one, has no room for it in the cap, or must call a tool",
    "reasoning summary": "thoughts are told as the model tells them",
    "encrypted reasoning": "what is sealed comes unasked",
    "response_format.strict": "a schema is always held to",
}
"""What is left out without a refusal, and why."""

OWN = frozenset({"guardrailConfig", "performanceConfig", "additionalModelResponseFieldPaths", "promptVariables"})
"""Bedrock's own fields, which a caller of any API may send along; `additionalModelRequestFields` is one too."""

_ADDITIONAL = "additionalModelRequestFields"
_METADATA_NAME = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_METADATA_TEXT = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_MOST_METADATA = 16
_OBJECT = msgspec.json.Decoder(dict[str, Any])

Json = dict[str, Any]


def encode_query(query: ChatQuery, model: str, target: str) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    saying = Saying(target, "Bedrock Converse")
    maker = maker_of(model)
    writer = BlockWriter(maker, saying)
    head, turns = _system(query)
    additional = _additional_of(query, saying)
    body: Json = {"messages": _messages(turns, writer, saying)}
    if query.cache is not None and body["messages"]:
        body["messages"][-1]["content"] += writer.cache_point(query.cache)
    if system := writer.system(head):
        body["system"] = system
    effort = _put_thinking(query, model, maker, additional, saying)
    put_tools(query, Draft(body, additional, maker), writer, saying)
    if config := _inference(query, saying):
        body["inferenceConfig"] = config
    _put_top_k(query.sampling.top_k, maker, additional, saying)
    if output := _output(query.format, effort, saying):
        body["outputConfig"] = output
    _put_rest(query, body, saying)
    if additional:
        body[_ADDITIONAL] = additional
    return Encoded(msgspec.json.encode(body), saying.dropped)


# -- what was said ------------------------------------------------------------------------------------------------


def _system(query: ChatQuery) -> tuple[list[Part], list[Turn]]:
    """(what stands before the conversation, the conversation). Only Anthropic's callers mean a later one to stay there."""
    head: list[Part] = []
    rest: list[Turn] = []
    for turn in query.turns:
        is_system = turn.role in (Role.SYSTEM, Role.DEVELOPER)
        if is_system and (not rest or query.origin is not Family.ANTHROPIC):
            head += turn.parts
        else:
            rest.append(turn)
    return head, rest


def _messages(turns: Sequence[Turn], writer: BlockWriter, saying: Saying) -> list[Json]:
    """Turns of one speaker in a row are one message; the results of tools come first in theirs."""
    merged: list[tuple[str, Blocks]] = []
    for index, turn in enumerate(turns):
        if turn.name:
            saying.drop("speaker's name")
        path = f"messages[{index}].content"
        if turn.role in (Role.SYSTEM, Role.DEVELOPER):
            role, blocks = "system", writer.system(turn.parts)
        else:
            parts: Sequence[Part] = turn.parts
            if turn.role is Role.USER:
                parts = sorted(parts, key=lambda part: not isinstance(part, ToolResult))
            role, blocks = turn.role.value, writer.turn(parts, turn.role, index, path)
        if not blocks:
            continue
        if merged and merged[-1][0] == role:
            earlier = merged[-1][1]
            # A result that follows words of its own message would be refused: it goes in front of them.
            front = _leading_results(earlier) if "toolResult" in blocks[0] else len(earlier)
            earlier[front:front] = blocks
        else:
            merged.append((role, blocks))
    return [{"role": role, "content": blocks} for role, blocks in merged]


def _leading_results(blocks: Blocks) -> int:
    return next((at for at, block in enumerate(blocks) if not block.keys() & {"toolResult", "cachePoint"}), len(blocks))


# -- how to answer ------------------------------------------------------------------------------------------------


def _additional_of(query: ChatQuery, saying: Saying) -> Json:
    """What the caller itself wrote for the model's own fields: it is said as it is."""
    raw = query.others.get(_ADDITIONAL)
    if raw is None:
        return {}
    try:
        return _OBJECT.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return saying.refuse(_ADDITIONAL, "it must be an object")


def _put_thinking(query: ChatQuery, model: str, maker: Maker, additional: Json, saying: Saying) -> str:
    """The effort for `outputConfig`; the rest goes to the additional fields."""
    fields, effort = thinking_fields(query, model, maker, saying)
    additional |= {name: value for name, value in fields.items() if name not in additional}
    return effort


def _inference(query: ChatQuery, saying: Saying) -> Json:
    """Without a cap the model's own is the cap."""
    given = query.sampling
    if given.temperature is not None and given.temperature > 1:
        saying.refuse("temperature", f"Bedrock takes 0 to 1, found {given.temperature:g}")
    for name in asked_beyond(given):
        saying.refuse(name, "Converse has nothing like it")
    if given.seed is not None:
        saying.drop("seed")
    said = {"maxTokens": query.cap, "temperature": given.temperature, "topP": given.top_p}
    config: Json = {name: value for name, value in said.items() if value is not None}
    return config | ({"stopSequences": list(given.stop)} if given.stop else {})


def _put_top_k(top_k: int | None, maker: Maker, additional: Json, saying: Saying) -> None:
    if top_k is None:
        return
    if maker is Maker.CLAUDE:
        additional.setdefault("top_k", top_k)
    elif maker is Maker.NOVA:
        additional["inferenceConfig"] = {"topK": top_k} | additional.get("inferenceConfig", {})
    else:
        saying.refuse("top_k", "of Bedrock's models Claude and Nova alone are known to take it")


def _output(given: OutputFormat | None, effort: str, saying: Saying) -> Json:
    output: Json = {"effort": effort} if effort else {}
    if given is None or given.kind is OutputKind.TEXT:
        return output
    if given.kind is OutputKind.JSON:
        saying.refuse("response_format", "Bedrock takes a JSON schema, not any JSON object")
    if given.is_strict is False:
        saying.drop("response_format.strict")
    told: Json = {"schema": bytes(given.schema).decode()}
    told |= {name: text for name, text in (("name", given.name), ("description", given.description)) if text}
    return output | {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": told}}}


def _put_rest(query: ChatQuery, body: Json, saying: Saying) -> None:
    if query.audio is not None or "audio" in query.modalities:
        saying.refuse("modalities", "Converse answers in texts")
    if query.service_tier:
        tier = TIERS_ASKED.get(query.service_tier)
        if tier is None:
            saying.refuse("service_tier", f"Bedrock has no tier {query.service_tier!r}")
        if tier:
            body["serviceTier"] = {"type": tier}
    if query.metadata:
        _put_metadata(query.metadata, body, saying)
    hints = (
        ("verbosity", query.verbosity),
        ("user", query.user),
        ("store", query.store),
        ("prompt_cache_key", query.cache_key),
    )
    for name, value in hints:
        if value:
            saying.drop(name)
    for name, raw in query.others.items():
        if name in OWN:
            body[name] = raw
        elif name != _ADDITIONAL:
            saying.refuse(name, "Converse has nothing like it")


def _put_metadata(metadata: Mapping[str, Any], body: Json, saying: Saying) -> None:
    """Bedrock's logs of invocations show it."""
    fits = len(metadata) <= _MOST_METADATA and all(
        _METADATA_NAME.fullmatch(name) and isinstance(text, str) and _METADATA_TEXT.fullmatch(text)
        for name, text in metadata.items()
    )
    if fits:
        body["requestMetadata"] = dict(metadata)
    else:
        saying.drop("metadata")
