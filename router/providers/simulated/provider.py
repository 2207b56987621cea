"""The built-in provider: a request's bytes in, an Exchange out. No network, no clock, no randomness but the seed's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from router.providers.simulated.chat import answer_chat, answer_completions
from router.providers.simulated.counting import answer_input_tokens, answer_tokenize
from router.providers.simulated.exchange import Exchange, error_exchange, json_exchange, paced
from router.providers.simulated.faults import failed_head, spoil
from router.providers.simulated.judgement import answer_embeddings, answer_moderations
from router.providers.simulated.options import ORDER_HEADER, Fault, FaultKind, Order, SimulateOptions, order_of
from router.providers.simulated.ranking import answer_rerank
from router.providers.simulated.request import BadRequest
from router.providers.simulated.responses import answer_responses
from router.providers.simulated.text import Draws

_Answer = Callable[[Mapping[str, Any], SimulateOptions, FaultKind | None, int], Exchange]
_ANSWERS: Mapping[str, _Answer] = {
    "/chat/completions": answer_chat,
    "/completions": answer_completions,
    "/responses": answer_responses,
    "/responses/input_tokens": answer_input_tokens,
    "/tokenize": answer_tokenize,
    "/embeddings": answer_embeddings,
    "/moderations": answer_moderations,
    "/rerank": answer_rerank,
}
_PATH = re.compile(r"^(?:/openai)?(?:/v1)?(?:/deployments/(?P<deployment>[^/]+))?(?P<operation>/[^?]*)?")
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_NO_CAP = 2**31
_MODEL_CREATED = 1_735_689_600
_KEPT = 128  # answers kept for the next equal request
_KEPT_BODY = 8 * 1024
_KEPT_PIECES = 256


@dataclass(frozen=True, slots=True)
class Received:
    """One request: `path` below the host, header names in lower case, `created` the second it is answered as of."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    created: int


class Simulator:
    """Answers as its options say. State: how many inference requests came, which decides the faults' turn."""

    def __init__(self, options: SimulateOptions) -> None:
        self.options = options
        self._ordinal = 0
        self._kept: dict[tuple[str, bytes, int], Exchange] = {}

    def answer(self, received: Received) -> Exchange:
        """The exchange to serve. Never raises: what is wrong with the request is an answer too."""
        found = _PATH.match(received.path)
        operation = ((found and found["operation"]) or "/").rstrip("/")
        if received.method == "GET" and (operation == "/models" or operation.startswith("/models/")):
            return self._models(operation.removeprefix("/models").lstrip("/"))
        if operation not in _ANSWERS:
            return error_exchange(404, f"Invalid URL ({received.method} {received.path})", "invalid_request_error")
        if received.method != "POST":
            message = f"Not allowed to {received.method} on {received.path}."
            return error_exchange(405, message, "invalid_request_error", code="method_not_supported")
        self._ordinal += 1
        try:
            return self._inference(operation, received, found["deployment"] if found else None)
        except BadRequest as error:
            return self._late(error_exchange(400, error.message, "invalid_request_error", error.param, error.code))

    def _models(self, name: str) -> Exchange:
        for fault in self.options.faults:
            head = failed_head(fault) if fault.probes and fault.hits(self._ordinal, name, self._draw("probe")) else None
            if head is not None:
                return self._late(head)
        if name:
            return self._late(json_exchange(_model(name)))
        return self._late(json_exchange({"object": "list", "data": [_model(each) for each in self.options.models]}))

    def _inference(self, operation: str, received: Received, deployment: str | None) -> Exchange:
        may_keep = not self.options.faults and ORDER_HEADER not in received.headers and len(received.body) <= _KEPT_BODY
        # The same bytes with another second or deployment are another answer.
        key = (f"{operation} {deployment}", received.body, received.created)
        if may_keep and (kept := self._kept.get(key)) is not None:
            return self._late(kept)
        body = _decoded(received.body)
        if deployment is not None and not body.get("model"):
            body["model"] = deployment
        order = _order(received.headers, body)
        fault = self._fault(order, str(body.get("model", "")))
        options = self.options
        if order is not None and order.pace:
            options = msgspec.structs.replace(options, **order.pace)
        exchange = _exchange(operation, body, options, fault, received.created)
        if may_keep and order is None and len(exchange.pieces) <= _KEPT_PIECES:
            self._keep(key, exchange)
        return self._late(exchange, options)

    def _fault(self, order: Order | None, model: str) -> Fault | None:
        if order is not None and order.fault is not None:
            fault = order.fault
            return (
                fault if fault.kind is not FaultKind.NONE and fault.hits(self._ordinal, model, self._draw("order")) else None
            )
        for index, fault in enumerate(self.options.faults):
            if fault.hits(self._ordinal, model, self._draw(index)):
                return None if fault.kind is FaultKind.NONE else fault
        return None

    def _draw(self, purpose: object) -> float:
        return Draws("fault", self.options.seed, purpose, self._ordinal).unit()

    def _late(self, exchange: Exchange, options: SimulateOptions | None = None) -> Exchange:
        """The exchange with the latency before its head."""
        chosen = options or self.options
        wait = chosen.latency + (chosen.jitter * self._draw("jitter") if chosen.jitter else 0.0)
        return replace(exchange, head_after=exchange.head_after + wait) if wait else exchange

    def _keep(self, key: tuple[str, bytes, int], exchange: Exchange) -> None:
        if len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = exchange


def _exchange(operation: str, body: dict[str, Any], options: SimulateOptions, fault: Fault | None, created: int) -> Exchange:
    """The fault's own head, or the good answer, paced and then spoiled. Raises BadRequest."""
    if fault is None:
        return paced(_ANSWERS[operation](body, options, None, created), options.first_token, options.tokens_per_second)
    refused = failed_head(fault)
    if refused is not None:
        return refused
    if fault.kind is FaultKind.REFUSE_STREAM_OPTIONS and "stream_options" in body:
        raise BadRequest("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter")
    if fault.kind is FaultKind.IGNORE_CAP:
        body, options = _without_cap(body, options, fault)
    good = _ANSWERS[operation](body, options, fault.kind, created)
    return spoil(paced(good, options.first_token, options.tokens_per_second), fault)


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request is not a JSON object.")
    return body


def _order(headers: Mapping[str, str], body: Mapping[str, Any]) -> Order | None:
    try:
        return order_of(headers, body)
    except ValueError as error:
        raise BadRequest(f"Invalid simulate order: {error}", "simulate", "invalid_value") from None


def _without_cap(body: dict[str, Any], options: SimulateOptions, fault: Fault) -> tuple[dict[str, Any], SimulateOptions]:
    caps = [body[name] for name in _CAPS if isinstance(body.get(name), int)]
    tokens = fault.output_tokens
    if tokens is None:
        tokens = 2 * min(max(caps, default=0), 100_000) + 32
    # Completions have a cap of their own where none is given.
    freed = {name: _NO_CAP for name in _CAPS if name in body or (name == "max_tokens" and "prompt" in body)}
    return {**body, **freed}, msgspec.structs.replace(options, output_tokens=tokens)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODEL_CREATED, "owned_by": "simulated"}
