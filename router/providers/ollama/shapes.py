"""What Ollama's answers and lines hold, as far as it is read; a whole answer is shaped as the last line of a stream."""

from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from router.domain.chat import Finish, ToolCall
from router.domain.usage import Usage
from router.providers.call_ids import made_call_id
from router.providers.openai_chat_codec.shapes import arguments_of, text_of
from router.providers.usage import counts_of

_FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct):
    id: Any = None
    function: _Function | None = None


class Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Told(msgspec.Struct):
    model: Any = None
    created_at: Any = None
    message: Message | None = None
    done: Any = None
    done_reason: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None


TOLD = msgspec.json.Decoder(Told)


def finish_of(reason: str, *, has_calls: bool) -> Finish:
    """A call ends with `stop` too."""
    finish = _FINISHES.get(reason, Finish.UNKNOWN)
    return Finish.TOOLS if has_calls and finish is not Finish.LENGTH else finish


def usage_of(told: Told) -> Usage | None:
    """None where nothing is told. A prompt that was cached whole is not counted by older servers."""
    if told.prompt_eval_count is None and told.eval_count is None:
        return None
    counts = {"input_tokens": told.prompt_eval_count or 0, "output_tokens": told.eval_count or 0}
    found = counts_of(msgspec.json.encode(counts))
    return found.usage() if found is not None else None


def seconds_of(created_at: object) -> int:
    """Seconds since the epoch of a time as Ollama writes it, to the nanosecond; 0 where it is none."""
    try:
        whole, _, rest = text_of(created_at).partition(".")
        zone = rest.lstrip("0123456789") if rest else ""
        return max(0, int(datetime.fromisoformat(whole + zone).timestamp()))
    except (ValueError, OverflowError):
        return 0


def answer_id(told: Told) -> str:
    """Ollama's answers have none: made from when and by which model it was answered."""
    return f"ollama-{sha256(f'{told.model}.{told.created_at}'.encode()).hexdigest()[:24]}"


def call_of(call: Call, begun: Told, number: int) -> ToolCall:
    """`begun`: the answer or its first line. Older servers give no ids: one is made from the answer's time and the place."""
    function = call.function or _Function()
    call_id = text_of(call.id) or made_call_id(0, number, answer_id(begun))
    return ToolCall(call_id, function.name or "", arguments_of(function.arguments) or "{}")
