"""One call to one target, from its first byte out to its last byte in; what it used is metered however it ends."""

from collections.abc import Mapping
from math import inf

import msgspec

from router.domain.errors import (
    BudgetExceeded,
    GatewayError,
    InvalidUpstreamResponse,
    UpstreamError,
    UpstreamTimeout,
    UpstreamTruncated,
)
from router.domain.flow import Flow
from router.domain.ledger import Outcome
from router.domain.routes import Candidate, Credential, FallbackReason
from router.domain.upstream import NEVER_SENT, FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.domain.usage import Usage
from router.gateway.assignment import Assignment, Means
from router.gateway.meter import Attempt, Meter, estimated_usage
from router.gateway.metered_stream import MeteredStream
from router.gateway.purses import Hold
from router.gateway.refused import Disguised, is_shown, reason_of, refusal_body
from router.gateway.retries import FALLBACKS, Verdict, clamped, outcome_of, verdict_of
from router.gateway.turns import Failed
from router.providers.answers import estimated_output_tokens
from router.providers.credentials import scrub
from router.providers.dialect import StreamMeter
from router.providers.disguises import blocked, disguised
from router.providers.refusals import Refusal, refusal_of
from router.providers.registry import BoundProvider
from router.providers.repairs.forced_answer import AnswerMismatch
from router.providers.translated import SSE
from router.providers.translation import TranslatedRequest

# Looking a member up in its enumeration takes Python 3.11 as long as ten attributes.
_OK, _SERVER_ERROR = Outcome.OK, Outcome.SERVER_ERROR
_CONTENT_POLICY = FallbackReason.CONTENT_POLICY

MAX_ANSWER_BYTES = 256 * 2**20
PASSED_DOWN = ("retry-after", "openai-processing-ms")
_PASSED_DOWN = frozenset(PASSED_DOWN)
_NOTHING: Mapping[str, str] = {}
_TOLD: Mapping[str, str] = {
    FailureKind.RESET.value: "the connection broke before the answer was whole",
    FailureKind.PROTOCOL.value: "the answer broke the rules of HTTP",
    FailureKind.TOO_LARGE.value: "the answer, or one event of it, is too large",
    FailureKind.IDLE_TIMEOUT.value: "nothing more came within the idle time",
    FailureKind.FIRST_BYTE_TIMEOUT.value: "nothing came within the first-byte time",
    FailureKind.TOTAL_TIMEOUT.value: "the answer was not whole within the time for the request",
}
_MAX_TOLD = 200
_STREAM = "text/event-stream"
_BLOCKED = "HTTP 200, blocked by content policy"
_JSON = "application/json"
_REQUEST_ID_HEADERS = ("x-request-id", "apim-request-id", "request-id", "x-amzn-requestid")


class Reply(msgspec.Struct):
    """What a target said, ready for the caller: `body`, or `frames` of a stream whose first frame has arrived.
    `dropped`: what of the request the target was not told."""

    status: int
    content_type: str
    body: bytes | None
    frames: Flow | None
    passed: Mapping[str, str]
    attempt: Attempt
    dropped: tuple[str, ...] = ()


class Refused(Failed):
    """The request itself was refused: `reply` is for the caller, unless an alias named for such requests is asked."""

    def __init__(self, failed: Failed, reply: Reply) -> None:
        super().__init__(failed.outcome, failed.reason, failed.status, failed.retry_after, failed.instead)
        self.reply = reply


Bench = tuple[Means, Assignment, Meter]
"""What every attempt of one request works with."""


class OpenAttempt:
    """An attempt under way. Ends exactly once: by its answer's end, by a failure, or by `leave`."""

    _answer: UpstreamAnswer | None = None
    _stream: StreamMeter | None = None
    _frames: MeteredStream | None = None
    _is_sent = is_over = False

    def __init__(
        self,
        bench: Bench,
        candidate: Candidate,
        provider: BoundProvider,
        credential: str,
        *,
        hold: Hold | None,
        translation: TranslatedRequest | None,
        started: float,
    ) -> None:
        """`started` is monotonic seconds."""
        means, assignment, meter = bench
        self._do = assignment
        self._journal = means.treasury.journal
        self._provider = provider
        self._meter = meter
        self._health = means.health
        self._target = candidate.target.id
        self._candidate = candidate
        self._hold = hold
        self._translation = translation
        self._framing = SSE if translation is None else translation.framing
        record = self.record = meter.begin(candidate, credential, started)
        if hold is not None:
            record.held, record.postings, record.release = hold.bound.amount, hold.funds.postings, hold.release
        self._was_trial = means.health.started(self._target)

    async def send(self, call: UpstreamCall, credential: Credential | None) -> Reply:
        """The target's reply. Raises Failed while another target may still answer, else the final GatewayError.

        Nothing is sent before the journal has it.
        """
        record = self.record
        written = self._journal.opened(self._do.opening(record))
        if written is not None:
            await written
        self._is_sent = True
        body: bytes | None
        is_whole = False
        try:
            answer = self._answer = await self._provider.transport.send(call)
            record.first_byte_us = int((self._meter.clock.monotonic() - record.started) * 1e6)
            headers = answer.headers
            record.status = answer.status
            record.upstream_request_id = _upstream_id(headers)
            if not 200 <= answer.status < 300:
                said = await refusal_body(answer)
                told = refusal_of(answer.status, headers, said, self._meter.clock.now_us())
                return self._refused(told, said, credential)
            content_type = headers.get("content-type", "application/json")
            translation, body, frames = self._translation, None, None
            if content_type.startswith(self._framing.media_type):
                frames = self._stream_of(answer)
                await frames.begin()
            else:
                is_whole = True
                body = self._metered(await answer.read(MAX_ANSWER_BYTES))
        except TransportFailure as failure:
            # Of a stream the first frame is yet to come; a whole answer has begun with its head, and is paid for.
            if is_whole:
                raise self._broken(outcome_of(failure.kind), failure.kind.value) from None
            raise self._lost(failure) from None
        except Disguised as disguise:
            return self._refused(disguise.refusal, disguise.body, credential, is_told=disguise.is_told)
        reply = Reply(answer.status, content_type, body, frames, _passed(headers), record)
        if translation is not None:
            reply.content_type = _JSON if frames is None else _STREAM
            reply.dropped = translation.dropped
        if body is not None and _CONTENT_POLICY in self._do.plan.typed and blocked(body):
            record.outcome, record.reason = Outcome.REFUSED_UPSTREAM, _BLOCKED
            raise Refused(Failed(Outcome.REFUSED_UPSTREAM, _BLOCKED, answer.status, instead=_CONTENT_POLICY), reply)
        return reply

    def leave(self, reason: str) -> None:
        """Nobody reads on: meter what was produced and drop the connection. Nothing, if the attempt is over."""
        if not self.is_over:
            self._break_off(Outcome.CANCELLED, reason)

    @property
    def bills_on_cancel(self) -> bool:
        """Whether a stream is open that its provider charges in full even if nobody reads it."""
        return not self.is_over and self._stream is not None and self._provider.spec.bills_on_cancel

    async def drain(self) -> None:
        """Read an abandoned stream to its end for its usage; TransportFailure where it breaks."""
        if self._frames is not None:
            await self._frames.drain()

    # -- the answer -------------------------------------------------------------------------------------------

    def _metered(self, body: bytes) -> bytes:
        """A whole answer in the caller's words, and charged. Raises Disguised where it is an error instead."""
        try:
            if b'"error"' in body and (refusal := disguised(body)) is not None:
                raise Disguised(refusal, body)
            if self._translation is None:
                usage = self._provider.dialects[self._do.request.api].usage_of(body)
            else:
                body, usage = self._translation.answer(body, self._began_s, self._name)
        except AnswerMismatch as error:
            self.record.usage = error.usage or estimated_usage(self._do.request, 0)
            self._end(Outcome.INVALID_RESPONSE, str(error))
            raise InvalidUpstreamResponse(f"{self._candidate.target.provider}: {error}") from None
        except ValueError as error:
            raise self._broken(Outcome.INVALID_RESPONSE, str(error)[:_MAX_TOLD]) from error
        self.record.usage = usage or estimated_usage(self._do.request, estimated_output_tokens(body))
        self._end(_OK)
        return body

    def _stream_of(self, answer: UpstreamAnswer) -> MeteredStream:
        provider, request, translation = self._provider, self._do.request, self._translation
        meter: StreamMeter
        if translation is None:
            meter = provider.dialects[request.api].stream_meter(request, hides_usage=provider.injects_usage(request))
        else:
            meter = translation.meter(self._began_s, self._name)
        self._stream = meter
        allowed = None if self._hold is None else self._hold.bound.output_tokens
        stream = self._frames = MeteredStream(
            answer, meter, self, self._meter.clock, framing=self._framing, allowed=inf if allowed is None else allowed
        )
        return stream

    def stream_ended(self, outcome: Outcome, reason: str = "") -> None:
        self.record.usage = self._used()
        self._end(outcome, reason)

    def stream_broken(self, outcome: Outcome, reason: str) -> GatewayError:
        return self._broken(outcome, reason)

    def has_produced(self, output_tokens: int) -> None:
        self._journal.progressed(self._do.caller.id, self.record.number, output_tokens)

    @property
    def _began_s(self) -> int:
        """Seconds since the epoch, for answers that do not tell when they were made."""
        return self.record.started_at // 1_000_000

    @property
    def _name(self) -> str:
        """The id of an answer that tells none: the target's of the request, else ours."""
        return self.record.upstream_request_id or self._do.caller.id

    # -- endings ----------------------------------------------------------------------------------------------

    def _end(self, outcome: Outcome, reason: str = "") -> None:
        """The answer came whole."""
        self._close(outcome, reason)
        if outcome is _SERVER_ERROR:
            self._health.failed(self._target, reason)
        else:
            self._health.succeeded(self._target, self.record.duration_us / 1000)

    def _broken(self, outcome: Outcome, reason: str) -> GatewayError:
        """The answer began and did not come whole: charged, the target blamed, not tried elsewhere."""
        self._break_off(outcome, reason)
        message = f"{self._candidate.target.provider}: {_TOLD.get(reason, reason)}"
        if outcome is Outcome.TIMEOUT:
            return UpstreamTimeout(message)
        if outcome is Outcome.OVERRUN:
            return BudgetExceeded(message)
        if outcome is Outcome.TRUNCATED:
            return UpstreamTruncated(message)
        return InvalidUpstreamResponse(message) if outcome is Outcome.INVALID_RESPONSE else UpstreamError(message)

    def _lost(self, failure: TransportFailure) -> Failed:
        """No answer: free if the provider cannot have seen the request, else charged its estimate."""
        outcome = outcome_of(failure.kind)
        if failure.kind in NEVER_SENT:
            self._close(outcome, failure.kind.value)
            self._health.failed(self._target, failure.kind.value)
        else:
            self._break_off(outcome, failure.kind.value)
        return Failed(outcome, failure.kind.value)

    def _refused(self, refusal: Refusal, body: bytes, credential: Credential | None, *, is_told: bool = False) -> Reply:
        """What is for the caller, whose request was refused; it used nothing. Raises Refused where an alias may be named for
        such requests, Failed where it is the target's or the credential's fault.

        With several credentials the refused one rests, and the target counts as ill only when none is left.
        """
        assert self._answer is not None, "no answer, no refusal"
        verdict, outcome = verdict_of(refusal.cause)
        reason = reason_of(refusal, self._answer.status)
        if verdict is Verdict.ANSWER:
            self._end(outcome, reason)
            reply = self._refusal_reply(refusal, body, self._answer, is_told=is_told)
            instead = FALLBACKS.get(refusal.cause)
            if instead is None:
                return reply
            raise Refused(Failed(outcome, reason, refusal.status, instead=instead), reply)
        self._close(outcome, reason)
        spec, health, wait = self._provider.spec, self._health, clamped(refusal.wait_s)
        is_ill = True
        if verdict is Verdict.CREDENTIAL and credential is not None and len(spec.credentials) > 1:
            health.rest_credential(spec.name, credential.label, refusal.status, wait)
            is_ill = len(health.resting(spec.name)) >= len(spec.credentials)
        if is_ill:
            health.failed(self._target, reason, rest_s=wait if outcome is Outcome.RATE_LIMITED else None)
        failed = Failed(outcome, reason, refusal.status, wait)
        if is_shown(self._answer.status):
            # A 400 that means the key: told as it came where no other key and no other target answers.
            raise Refused(failed, self._refusal_reply(refusal, body, self._answer, is_told=is_told))
        raise failed

    def _refusal_reply(self, refusal: Refusal, body: bytes, answer: UpstreamAnswer, *, is_told: bool) -> Reply:
        translation, content_type = self._translation, _JSON
        if translation is None and answer.status >= 300:
            content_type = answer.headers.get("content-type", _JSON)
        elif translation is not None and not is_told:
            body = translation.refusal(refusal.status, body, refusal.cause, self.record.upstream_request_id)
        body = scrub(body, self._provider.spec.credentials)
        return Reply(refusal.status, content_type, body, None, _passed(answer.headers), self.record)

    def _break_off(self, outcome: Outcome, reason: str) -> None:
        """What may have been used is charged, never zero; nothing, if nothing was sent."""
        if self._is_sent:
            self.record.usage = self._used()
        self._close(outcome, reason)
        is_own_haste = self._do.is_hurried and reason == FailureKind.TOTAL_TIMEOUT.value
        if outcome is not Outcome.CANCELLED and not is_own_haste:
            self._health.failed(self._target, reason)

    def _used(self) -> Usage:
        stream = self._stream
        if stream is not None and stream.usage is not None:
            return stream.usage
        return estimated_usage(self._do.request, stream.estimated_output_tokens() if stream is not None else 0)

    def _close(self, outcome: Outcome, reason: str) -> None:
        self.is_over = True
        # It holds us: together we would be garbage that only the collector finds.
        self._frames = None
        if outcome is not _OK and self._is_sent and self._translation is not None:
            # Of several calls those that were answered are paid for, whatever became of the others.
            self.record.usage = self._translation.spent() or self.record.usage
        self._meter.end(self.record, outcome, reason)
        if self._hold is not None:
            self._hold.settle(self.record.cost)
        if self._answer is not None:
            self._answer.close()
        self._health.ended(self._target, was_trial=self._was_trial)


def _passed(headers: Mapping[str, str]) -> Mapping[str, str]:
    if _PASSED_DOWN.isdisjoint(headers):
        return _NOTHING
    return {name: headers[name] for name in PASSED_DOWN if name in headers}


def _upstream_id(headers: Mapping[str, str]) -> str:
    """The provider's own id of this request, "" if there is none or it could not stand in a header."""
    for name in _REQUEST_ID_HEADERS:
        if name in headers:
            value = headers[name]
            return value if value.isascii() and value.isprintable() and len(value) <= 128 else ""
    return ""
