"""What must come out of an exchange, worked out from the recording alone: no code under test is used here.

The rules are those of the contract's "Same-dialect fidelity", "Streams" and "Errors".
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from router.domain.requests import Api
from tests.conformance.recordings import Exchange

INJECTED = b'"stream_options":{"include_usage":true}'
ADDED_USAGE = b'data: {"id":"u","choices":[],"usage":{"prompt_tokens":1234,"completion_tokens":567,"total_tokens":1801}}'
"""The frame a provider adds because it was asked to; put into recordings whose client did not ask."""

KEY_REFUSED = frozenset(
    {"compat-xai/compat.responses/u-400-ruby_llm-chat_error_handling_with_xai_grok-4-1-fast-non-reasoning_rai-0.json"}
)
"""A 400 that says that the key is wrong: another key or target is tried, and where there is none it is passed on."""
_OURS_TO_MAP = frozenset({401, 402, 403, 408, 409, 425, 429})
_FRAME = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)", re.DOTALL)
_LAST = re.compile(rb"(?:\A|\n|\r)data: ?([^\r\n]*)\Z")
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

Json = dict[str, Any]
Write = Callable[[Json], bytes]


@dataclass(frozen=True)
class Counts:
    """A provider's count as the ledger keeps it: cached and written parts inside the input, reasoning inside the output."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0


NOTHING = Counts()


# -- the request ----------------------------------------------------------------------------------------------


def compact(fields: Json) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def airy(fields: Json) -> bytes:
    """The same members with blanks, line ends and escapes, as other clients write them."""
    return json.dumps(fields, ensure_ascii=True, indent=1).encode()


def asks_usage(of: Exchange) -> bool:
    """Whether the gateway must ask for usage on its own account. Mistral says it unasked and is not asked."""
    return of.streams and of.api in {Api.CHAT, Api.COMPLETIONS} and not of.asked_for_usage and of.family != "mistral"


def request_upstream(of: Exchange, sent: Json, write: Write, model: str) -> bytes:
    """What the provider must receive of `sent`: the same bytes but for `model`, and what is missing put in front."""
    written = write(sent | {"model": model}) if "model" in sent else write(sent)
    missing = [] if "model" in sent else [b'"model":' + json.dumps(model).encode()]
    if asks_usage(of):
        assert not sent.get("stream_options"), f"{of.name}: other stream options need a rule here"
        missing.append(INJECTED)
    return b"{" + b",".join(missing) + b"," + written[1:] if missing else written


# -- the answer -----------------------------------------------------------------------------------------------


def is_mapped(of: Exchange) -> bool:
    """Whether the recorded status is the provider's or our credential's fault and so becomes one of ours."""
    return of.status in _OURS_TO_MAP or of.status >= 500


def mapped_status(of: Exchange) -> tuple[int, str]:
    return (429, "upstream_rate_limited") if of.status == 429 else (502, "upstream_error")


def attempts_of(of: Exchange) -> int:
    """With one target: a 429 and what may recover is asked again up to the cap, a refused credential is not."""
    return 1 if of.status < 300 or not is_mapped(of) or of.status in {401, 402, 403} else 3


def frames_of(stream: bytes) -> tuple[list[bytes], bytes]:
    """Whole frames with their blank lines, and what follows the last of them."""
    frames = _FRAME.findall(stream)
    return frames, stream[sum(map(len, frames)) :]


@cache
def answer_of(of: Exchange, asked: bool) -> bytes:
    """The body a provider gives: the recording's; with the usage frame more, if it was asked for one it did not give."""
    if not asked or not of.is_sse or any("usage" in event and event["usage"] for event in events(of.body)):
        return of.body
    frames, tail = frames_of(of.body)
    at = next((i for i, frame in enumerate(frames) if frame.strip() == b"data: [DONE]"), len(frames))
    return b"".join([*frames[:at], ADDED_USAGE + b"\n\n", *frames[at:], tail])


@lru_cache(maxsize=8)
def relayed(of: Exchange, answer: bytes) -> bytes:
    """What the caller must get of a stream, its own error event at a false end left out."""
    frames, tail = frames_of(answer)
    hides = asks_usage(of)
    whole = [*frames, tail] if _is_whole(tail) else frames
    return b"".join(frame for frame in whole if not (hides and _is_usage_frame(frame)))


def _is_usage_frame(frame: bytes) -> bool:
    return any(event.get("choices") == [] and event.get("usage") for event in events(frame))


def _is_whole(tail: bytes) -> bool:
    """A last event may lack its blank line, never a part of its line."""
    last = _LAST.search(tail)
    if tail.endswith((b"\n", b"\r")) or not last:
        return tail.endswith((b"\n", b"\r"))
    return last[1] == b"[DONE]" or _parsed(last[1]) is not None


def events(stream: bytes) -> Iterator[Json]:
    """The JSON objects of a stream's data lines."""
    for line in re.split(rb"\r\n|\n|\r", stream):
        if line.startswith(b"data:") and (found := _parsed(line[5:].strip())) is not None:
            yield found


def _parsed(text: bytes) -> Json | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@lru_cache(maxsize=8)
def has_failed(stream: bytes) -> bool:
    """Whether the provider itself sent an error event."""
    named = re.search(rb"(?:\A|[\r\n])event: ?error[\r\n]", stream) is not None
    return named or any(e.get("type") == "error" or ("choices" in e and e.get("error")) for e in events(stream))


@lru_cache(maxsize=8)
def is_finished(of: Exchange, stream: bytes) -> bool:
    """Whether the stream has its dialect's end."""
    if of.api is Api.RESPONSES:
        return any(event.get("type") in _ENDS for event in events(stream))
    if of.api is Api.MESSAGES:
        return any(event.get("type") == "message_stop" for event in events(stream))
    ended = {
        choice.get("index", 0)
        for event in events(stream)
        for choice in event.get("choices") or ()
        if choice.get("finish_reason") is not None
    }
    prompts = of.fields.get("prompt")
    lists = len(prompts) if isinstance(prompts, list) and prompts and isinstance(prompts[0], str) else 1
    is_done = re.search(rb"(?:\A|[\r\n])data: ?\[DONE\](?:[\r\n]|\Z)", stream) is not None
    return is_done or len(ended) >= (of.fields.get("n") or 1) * lists


@cache
def before_the_end(of: Exchange) -> bytes:
    """All frames before the first of those that end the stream, and half of that one."""
    whole, tail = frames_of(of.body)
    frames = [*whole, tail] if _is_whole(tail) else whole
    one_choice = replace(of, fields={})
    first = next(at for at, frame in enumerate(frames) if is_finished(one_choice, frame) or has_failed(frame))
    return b"".join(frames[:first]) + frames[first][: len(frames[first]) // 2]


# -- the count ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def counts_of(of: Exchange, answer: bytes) -> Counts | None:
    """What must be metered for an answer; None where the provider does not say, so that an estimate is due."""
    if of.status >= 300 or of.api is Api.COUNT_TOKENS:
        return NOTHING
    usage = usage_in([json.loads(answer)] if not of.is_sse else list(events(answer)))
    if not usage:
        return NOTHING if of.api is Api.MODERATIONS else None
    if of.api is Api.RERANK:
        return Counts(input=usage["total_tokens"])
    return message_counts(usage) if of.api is Api.MESSAGES else openai_counts(usage)


def usage_in(said: list[Json]) -> Json:
    """The last word on each count: streams repeat their usage, and it grows."""
    usage: Json = {}
    for event in said:
        usage |= {name: count for name, count in _usage_in(event).items() if count is not None}
    return usage


def _usage_in(event: Json) -> Json:
    holders = (event, event.get("response"), event.get("x_groq"), event.get("message"))
    return next((h["usage"] for h in holders if isinstance(h, dict) and isinstance(h.get("usage"), dict)), {})


def message_counts(usage: Json) -> Counts:
    """Anthropic counts what a cache had a part in beside the input."""
    cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    return Counts(
        input=usage["input_tokens"] + cached + written,
        output=usage["output_tokens"],
        cached=cached,
        cache_write=written,
        reasoning=usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )


def openai_counts(usage: Json) -> Counts:
    details_in: Json = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    details_out: Json = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    count_in: int = usage["prompt_tokens"] if "prompt_tokens" in usage else usage["input_tokens"]
    count_out: int = usage["completion_tokens"] if "completion_tokens" in usage else usage.get("output_tokens") or 0
    outside = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens")
    cached = details_in.get("cached_tokens")
    reasoning = details_out.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
    audio = details_in.get("audio_tokens") or 0
    # The total shows what a provider counts beside the prompt and the completion: xAI its reasoning, Mistral the audio.
    beside = usage.get("total_tokens", count_in + count_out) - count_in - count_out
    return Counts(
        input=count_in + (beside if beside and beside == audio else 0),
        output=count_out + (beside if beside and beside == reasoning else 0),
        cached=cached if cached is not None else next((usage[n] for n in outside if usage.get(n) is not None), 0),
        cache_write=details_in.get("cache_write_tokens") or usage.get("cache_creation_input_tokens") or 0,
        reasoning=reasoning,
        audio_input=audio,
        audio_output=details_out.get("audio_tokens") or 0,
    )
