"""One call to one target, from its first byte out to its last byte in; what it used is metered however it ends."""

import asyncio
from collections.abc import Mapping
from math import inf

import msgspec
from msgspec.structs import replace

from router.domain.errors import (
    BudgetExceeded,
    GatewayError,
    InvalidUpstreamResponse,
    UpstreamError,
    UpstreamTimeout,
    UpstreamTruncated,
)
from router.domain.flow import Flow
from router.domain.ledger import AttemptEntry, Outcome
from router.domain.routes import Candidate, Credential, FallbackReason
from router.domain.upstream import NEVER_SENT, FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.domain.usage import NOTHING, NanoUSD, Usage
from router.gateway.answer import Answer
from router.gateway.case import Case
from router.gateway.estimates import estimated_usage
from router.gateway.means import Means
from router.gateway.metered_stream import MeteredStream
from router.gateway.opened_lines import opened_line
from router.gateway.provider_headers import passed_down, upstream_id
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
_OK, _SERVER_ERROR, _INTERNAL = Outcome.OK, Outcome.SERVER_ERROR, Outcome.INTERNAL
_CONTENT_POLICY = FallbackReason.CONTENT_POLICY

DRAIN_S = 30.0
MAX_ANSWER_BYTES = 256 * 2**20
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


class Refused(Failed):
    """The request itself was refused: `answer` is for the caller, unless an alias named for such requests is asked."""

    def __init__(self, failed: Failed, answer: Answer) -> None:
        super().__init__(failed.outcome, failed.reason, failed.status, failed.retry_after, failed.instead)
        self.answer = answer


class Attempt(msgspec.Struct, eq=False):
    """An attempt under way. Ends exactly once: by its answer's end, by a failure, or by `leave`; then it stands among the
    attempts of its `case`.

    `do` is what it is made for: the case itself, or that of the alias asked instead. `started` is monotonic seconds,
    `started_at` the same in wall-clock microseconds.
    """

    case: Case
    do: Case
    means: Means
    provider: BoundProvider
    candidate: Candidate
    credential: Credential | None
    hold: Hold | None
    translation: TranslatedRequest | None
    number: int
    started_at: int
    started: float
    was_trial: bool
    status: int | None = None
    first_byte_us: int | None = None
    usage: Usage = NOTHING
    upstream_request_id: str = ""
    is_sent: bool = False
    is_over: bool = False
    _answer: UpstreamAnswer | None = None
    _stream: StreamMeter | None = None
    _frames: MeteredStream | None = None

    async def send(self, call: UpstreamCall) -> Answer:
        """The target's answer. Raises Failed while another target may still answer, else the final GatewayError.

        Nothing is sent before the journal has it.
        """
        credential = self.credential
        label = "" if credential is None else credential.label
        line = opened_line(self.do, self.candidate, label, self.hold, number=self.number, at=self.started_at)
        written = self.means.treasury.journal.opened(line)
        if written is not None:
            await written
        self.is_sent = True
        body: bytes | None
        is_whole = False
        try:
            answer = self._answer = await self.provider.transport.send(call)
            self.first_byte_us = int((self.means.clock.monotonic() - self.started) * 1e6)
            headers, status = answer.headers, answer.status
            self.status = status
            self.upstream_request_id = upstream_id(headers)
            if not 200 <= status < 300:
                body = await refusal_body(answer)
                return self._refused(refusal_of(status, headers, body, self.means.clock.now_us()), body)
            content_type = headers.get("content-type", "application/json")
            translation, body, frames = self.translation, None, None
            if content_type.startswith(SSE.media_type if translation is None else translation.framing.media_type):
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
            return self._refused(disguise.refusal, disguise.body, is_told=disguise.is_told)
        said = self._answered(status, content_type, body, frames, headers)
        if translation is not None:
            said.content_type = _JSON if frames is None else _STREAM
            said.dropped = translation.dropped
        if body is not None and _CONTENT_POLICY in self.do.permit.alias.fallbacks and blocked(body):
            attempts = self.case.attempts
            attempts[-1] = replace(attempts[-1], outcome=Outcome.REFUSED_UPSTREAM, reason=_BLOCKED)
            raise Refused(Failed(Outcome.REFUSED_UPSTREAM, _BLOCKED, status, instead=_CONTENT_POLICY), said)
        return said

    def leave(self, reason: str) -> None:
        """Nobody reads on: meter what was produced and drop the connection. Nothing, if the attempt is over. Never waits."""
        try:
            if not self.is_over:
                self._break_off(Outcome.CANCELLED, reason)
        finally:
            if not self.is_over:
                # Even where a fault of ours has hidden what it used, it does not vanish from its request.
                self._give_up(_INTERNAL, reason)

    @property
    def bills_on_cancel(self) -> bool:
        """Whether a stream is open that its provider charges in full even if nobody reads it."""
        return not self.is_over and self._stream is not None and self.provider.spec.bills_on_cancel

    async def drain(self) -> None:
        """Read an abandoned stream to its end for its usage, bounded, then leave."""
        try:
            async with asyncio.timeout(DRAIN_S):
                if self._frames is not None:
                    await self._frames.drain()
        except (TransportFailure, TimeoutError):
            return
        finally:
            self.leave("the caller left")

    # -- the answer -------------------------------------------------------------------------------------------

    def _metered(self, body: bytes) -> bytes:
        """A whole answer in the caller's words, and charged. Raises Disguised where it is an error instead."""
        try:
            if b'"error"' in body and (refusal := disguised(body)) is not None:
                raise Disguised(refusal, body)
            if self.translation is None:
                usage = self.provider.dialects[self.case.request.api].usage_of(body)
            else:
                body, usage = self.translation.answer(body, self._began_s, self._name)
        except AnswerMismatch as error:
            self.usage = error.usage or estimated_usage(self.case.request, 0)
            self._end(Outcome.INVALID_RESPONSE, str(error))
            raise InvalidUpstreamResponse(f"{self.candidate.target.provider}: {error}") from None
        except ValueError as error:
            raise self._broken(Outcome.INVALID_RESPONSE, str(error)[:_MAX_TOLD]) from error
        self.usage = usage or estimated_usage(self.case.request, estimated_output_tokens(body))
        self._end(_OK)
        return body

    def _stream_of(self, answer: UpstreamAnswer) -> MeteredStream:
        provider, request, translation = self.provider, self.case.request, self.translation
        meter: StreamMeter
        if translation is None:
            framing = SSE
            meter = provider.dialects[request.api].stream_meter(request, hides_usage=provider.injects_usage(request))
        else:
            framing, meter = translation.framing, translation.meter(self._began_s, self._name)
        self._stream = meter
        allowed = None if self.hold is None else self.hold.bound.output_tokens
        stream = self._frames = MeteredStream(
            answer, meter, self, self.means.clock, framing=framing, allowed=inf if allowed is None else allowed
        )
        return stream

    def stream_ended(self, outcome: Outcome, reason: str = "") -> None:
        self.usage = self._used()
        self._end(outcome, reason)

    def stream_broken(self, outcome: Outcome, reason: str) -> GatewayError:
        return self._broken(outcome, reason)

    def has_produced(self, output_tokens: int) -> None:
        self.means.treasury.journal.progressed(self.case.id, self.number, output_tokens)

    @property
    def _began_s(self) -> int:
        """Seconds since the epoch, for answers that do not tell when they were made."""
        return self.started_at // 1_000_000

    @property
    def _name(self) -> str:
        """The id of an answer that tells none: the target's of the request, else ours."""
        return self.upstream_request_id or self.case.id

    # -- endings ----------------------------------------------------------------------------------------------

    def _end(self, outcome: Outcome, reason: str = "") -> None:
        """The answer came whole."""
        if outcome is _SERVER_ERROR:
            self._give_up(outcome, reason)
            self.means.health.failed(self.candidate.target.id, reason)
            return
        duration_us = self._close(outcome, reason)
        self.means.health.answered(self.candidate.target.id, duration_us / 1000, was_trial=self.was_trial)

    def _broken(self, outcome: Outcome, reason: str) -> GatewayError:
        """The answer began and did not come whole: charged, the target blamed, not tried elsewhere."""
        self._break_off(outcome, reason)
        message = f"{self.candidate.target.provider}: {_TOLD.get(reason, reason)}"
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
            self._give_up(outcome, failure.kind.value)
            self.means.health.failed(self.candidate.target.id, failure.kind.value)
        else:
            self._break_off(outcome, failure.kind.value)
        return Failed(outcome, failure.kind.value)

    def _refused(self, refusal: Refusal, body: bytes, *, is_told: bool = False) -> Answer:
        """What is for the caller, whose request was refused; it used nothing. Raises Refused where an alias may be named for
        such requests, Failed where it is the target's or the credential's fault.

        With several credentials the refused one rests, and the target counts as ill only when none is left.
        """
        assert self._answer is not None, "no answer, no refusal"
        verdict, outcome = verdict_of(refusal.cause)
        reason = reason_of(refusal, self._answer.status)
        if verdict is Verdict.ANSWER:
            self._end(outcome, reason)
            said = self._refusal_answer(refusal, body, self._answer, is_told=is_told)
            instead = FALLBACKS.get(refusal.cause)
            if instead is None:
                return said
            raise Refused(Failed(outcome, reason, refusal.status, instead=instead), said)
        self._give_up(outcome, reason)
        spec, health, wait = self.provider.spec, self.means.health, clamped(refusal.wait_s)
        credential = self.credential
        is_ill = True
        if verdict is Verdict.CREDENTIAL and credential is not None and len(spec.credentials) > 1:
            health.rest_credential(spec.name, credential.label, refusal.status, wait)
            is_ill = len(health.resting(spec.name)) >= len(spec.credentials)
        if is_ill:
            health.failed(self.candidate.target.id, reason, rest_s=wait if outcome is Outcome.RATE_LIMITED else None)
        failed = Failed(outcome, reason, refusal.status, wait)
        if is_shown(self._answer.status):
            # A 400 that means the key: told as it came where no other key and no other target answers.
            raise Refused(failed, self._refusal_answer(refusal, body, self._answer, is_told=is_told))
        raise failed

    def _refusal_answer(self, refusal: Refusal, body: bytes, answer: UpstreamAnswer, *, is_told: bool) -> Answer:
        translation, content_type = self.translation, _JSON
        if translation is None and answer.status >= 300:
            content_type = answer.headers.get("content-type", _JSON)
        elif translation is not None and not is_told:
            body = translation.refusal(refusal.status, body, refusal.cause, self.upstream_request_id)
        body = scrub(body, self.provider.spec.credentials)
        return self._answered(refusal.status, content_type, body, None, answer.headers)

    def _break_off(self, outcome: Outcome, reason: str) -> None:
        """What may have been used is charged, never zero; nothing, if nothing was sent."""
        if self.is_sent:
            self.usage = self._used()
        self._give_up(outcome, reason)
        # A time that the caller itself has shortened is nobody's illness.
        is_own_haste = self.case.caller.timeout_s is not None and reason == FailureKind.TOTAL_TIMEOUT.value
        if outcome is not Outcome.CANCELLED and not is_own_haste:
            self.means.health.failed(self.candidate.target.id, reason)

    def _used(self) -> Usage:
        stream = self._stream
        if stream is not None and stream.usage is not None:
            return stream.usage
        return estimated_usage(self.case.request, stream.estimated_output_tokens() if stream is not None else 0)

    def _give_up(self, outcome: Outcome, reason: str) -> None:
        """No answer came, or none that is one; whose fault that is, others say."""
        self._close(outcome, reason)
        self.means.health.ended(self.candidate.target.id, was_trial=self.was_trial)

    def _close(self, outcome: Outcome, reason: str) -> int:
        """Its usage is final: price it, and let go of everything. How long it took, in microseconds."""
        # It holds us: together we would be garbage that only the collector finds.
        self._frames = None
        usage, hold, candidate, target = self.usage, self.hold, self.candidate, self.candidate.target
        if outcome is not _OK and outcome is not _INTERNAL and self.is_sent and self.translation is not None:
            # Of several calls those that were answered are paid for, whatever became of the others.
            usage = self.translation.spent() or usage
        self.is_over = True
        price, cost = target.price, NanoUSD(0)
        if price is not None:
            cost = price.of(usage)
        if hold is not None:
            hold.settle(cost)
        if self._answer is not None:
            self._answer.close()
        duration_us = int((self.means.clock.monotonic() - self.started) * 1e6)
        # In the order of its fields: their names would cost more than all the rest.
        self.case.attempts.append(
            AttemptEntry(
                self.number,
                candidate.alias.name,
                target.provider,
                target.id,
                candidate.upstream_model,
                "" if self.credential is None else self.credential.label,
                outcome,
                self.started_at,
                duration_us,
                self.status,
                self.first_byte_us,
                usage,
                cost,
                price is not None or not (usage.total_tokens or usage.searches),
                self.upstream_request_id,
                reason,
                NanoUSD(0) if hold is None else hold.bound.amount,
                () if hold is None else hold.funds.postings,
            )
        )
        return duration_us

    def _answered(
        self, status: int, content_type: str, body: bytes | None, frames: Flow | None, headers: Mapping[str, str]
    ) -> Answer:
        """With what is known of it by now. Of a whole answer that is what it has cost, too."""
        case, funds, candidate = self.case, self.do.funds, self.candidate
        return Answer(
            status,
            content_type,
            body,
            frames,
            passed_down(headers),
            candidate.target.provider,
            candidate.via,
            self.upstream_request_id,
            self.number,
            case.cost if frames is None else None,
            None if funds is None else funds.nearest,
            case,
        )
