"""Chat Completions and Completions as OpenAI writes them: the JSON answer, and the stream, one token to a frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import msgspec

from router.providers.simulated.exchange import Exchange, Frame, json_exchange, stream_exchange, usage_member
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.providers.simulated.reply import Call, Count, Reply, compose, count
from router.providers.simulated.request import Ask, chat_ask, completion_asks
from router.providers.simulated.text import Draws

DONE = Frame(b"data: [DONE]\n\n")
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What every chunk of one stream repeats. `wants_usage`: chunks carry `usage`, and a last one has the numbers."""

    head: Mapping[str, Any]
    wants_usage: bool
    fault: FaultKind | None
    count: Count

    def chunk(self, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None = None, tokens: int = 0) -> Frame:
        body: dict[str, Any] = {**self.head, "choices": choices}
        if usage is not None:
            body |= usage
        elif self.wants_usage:
            body["usage"] = None
        return Frame(b"data: " + _encode(body) + b"\n\n", tokens)

    def end(self) -> Iterator[Frame]:
        """The usage chunk where asked for, as often as the fault wants it, and [DONE]."""
        if self.wants_usage and self.fault is not FaultKind.USAGE_ABSENT:
            last = self.chunk([], usage_member(self.count, self.fault))
            yield last
            if self.fault is FaultKind.USAGE_TWICE:
                yield last
        yield DONE


def answer_chat(body: Mapping[str, Any], options: SimulateOptions, fault: FaultKind | None, created: int) -> Exchange:
    """Raises BadRequest."""
    ask = chat_ask(body)
    replies = compose(ask, options.seed, options.output_tokens)
    used = count([ask], replies)
    head = {**_head("chatcmpl-", "chat.completion", ask, options.seed, created), "service_tier": "default"}
    top = _top_logprobs(body)
    if body.get("stream") is True:
        envelope = _Envelope({**head, "object": "chat.completion.chunk"}, _wants_usage(body), fault, used)
        return stream_exchange(_chat_frames(envelope, replies, top), used)
    choices = [_choice(index, reply, top) for index, reply in enumerate(replies)]
    answer = {**head, "choices": choices} | usage_member(used, fault)
    return json_exchange(answer, usage=used, visible=_visible(replies))


def answer_completions(body: Mapping[str, Any], options: SimulateOptions, fault: FaultKind | None, created: int) -> Exchange:
    """Raises BadRequest."""
    asks = completion_asks(body)
    replies = [reply for ask in asks for reply in compose(ask, options.seed, options.output_tokens)]
    used = count(asks, replies)
    head = _head("cmpl-", "text_completion", asks[0], options.seed, created)
    given = body.get("logprobs")
    top = given if isinstance(given, int) else None
    if body.get("stream") is True:
        return stream_exchange(_completion_frames(_Envelope(head, _wants_usage(body), fault, used), replies, top), used)
    choices = [
        _completion_choice(i, reply.text, _completion_logprobs(reply.text, top), reply.finish)
        for i, reply in enumerate(replies)
    ]
    answer = {**head, "choices": choices} | usage_member(used, fault)
    return json_exchange(answer, usage=used, visible=_visible(replies))


def _visible(replies: Sequence[Reply]) -> int:
    return sum(reply.visible_tokens for reply in replies)


def _head(prefix: str, kind: str, ask: Ask, seed: int, created: int) -> dict[str, Any]:
    return {
        "id": prefix + Draws("id", seed, ask.key.hex()).hex(28),
        "object": kind,
        "created": created,
        "model": ask.model,
        "system_fingerprint": "fp_simulated",
    }


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _choice(index: int, reply: Reply, top: int | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.text), "refusal": None, "annotations": []}
    if reply.calls:
        message |= {"content": None, "tool_calls": [_tool_call(call) for call in reply.calls]}
    return {"index": index, "message": message, "logprobs": _logprobs(reply.text, top), "finish_reason": reply.finish}


def _tool_call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments)}}


def _chat_frames(envelope: _Envelope, replies: Sequence[Reply], top: int | None) -> Iterator[Frame]:
    """The roles, then the choices' tokens in turn, then the reasons to finish, usage and [DONE]."""
    for index, reply in enumerate(replies):
        content = {"content": None} if reply.calls else {"content": ""}
        first = {"role": "assistant", **content, "refusal": None}
        yield envelope.chunk([_delta(index, first, _logprobs((), top))])
    sent = 0
    for row in zip_longest(*(_deltas(reply, top) for reply in replies)):
        for index, step in enumerate(row):
            if step is not None:
                sent += 1
                yield envelope.chunk([_delta(index, *step)], _running(envelope, sent), tokens=1)
    for index, reply in enumerate(replies):
        yield envelope.chunk([_delta(index, {}, None, reply.finish)])
    yield from envelope.end()


def _running(envelope: _Envelope, sent: int) -> dict[str, Any] | None:
    if envelope.fault is not FaultKind.USAGE_CUMULATIVE or not envelope.wants_usage:
        return None
    return usage_member(Count(envelope.count.input, envelope.count.reasoning + sent, envelope.count.reasoning), None)


def _deltas(reply: Reply, top: int | None) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """One delta and its logprobs for each visible token."""
    for token in reply.text:
        yield {"content": token}, _logprobs((token,), top)
    for index, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}, None
        for token in call.arguments:
            yield {"tool_calls": [{"index": index, "function": {"arguments": token}}]}, None


def _delta(index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _completion_frames(envelope: _Envelope, replies: Sequence[Reply], top: int | None) -> Iterator[Frame]:
    for row in zip_longest(*(reply.text for reply in replies)):
        for index, token in enumerate(row):
            if token is not None:
                choice = _completion_choice(index, (token,), _completion_logprobs((token,), top), None)
                yield envelope.chunk([choice], tokens=1)
    for index, reply in enumerate(replies):
        yield envelope.chunk([_completion_choice(index, (), None, reply.finish)])
    yield from envelope.end()


def _completion_choice(
    index: int, text: Sequence[str], logprobs: dict[str, Any] | None, finish: str | None
) -> dict[str, Any]:
    return {"text": "".join(text), "index": index, "logprobs": logprobs, "finish_reason": finish}


def _top_logprobs(body: Mapping[str, Any]) -> int | None:
    """How many alternatives to list beside each token; None where logprobs were not asked for."""
    if body.get("logprobs") is not True:
        return None
    top = body.get("top_logprobs")
    return min(top, 20) if isinstance(top, int) else 0


def _logprobs(tokens: Sequence[str], top: int | None) -> dict[str, Any] | None:
    if top is None:
        return None
    return {"content": [token_logprob(token, top) for token in tokens], "refusal": None}


def token_logprob(token: str, top: int) -> dict[str, Any]:
    """The token with its probability, and `top` candidates in falling order, itself first."""
    chances = _chances(token, top)
    entries = [{"token": t, "logprob": p, "bytes": list(t.encode("utf-8", "surrogatepass"))} for t, p in chances]
    return {**entries[0], "top_logprobs": entries[:top]}


def _completion_logprobs(tokens: Sequence[str], top: int | None) -> dict[str, Any] | None:
    if top is None:
        return None
    chances = [_chances(token, top) for token in tokens]
    offsets = [sum(map(len, tokens[:index])) for index in range(len(tokens))]
    return {
        "tokens": list(tokens),
        "token_logprobs": [entry[0][1] for entry in chances],
        "top_logprobs": [dict(entry[:top]) for entry in chances],
        "text_offset": offsets,
    }


def _chances(token: str, top: int) -> list[tuple[str, float]]:
    draws = Draws("logprob", token)
    falling = -draws.unit()
    found = [(token, round(falling, 6))]
    for index in range(1, top):
        falling -= 0.5 + 2 * draws.unit()
        found.append((f"{token}{'s' * index}", round(falling, 6)))
    return found
