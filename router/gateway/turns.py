"""Which target and credential comes next, from what has failed so far; the caller does the waiting and the calling."""

from collections import deque
from dataclasses import dataclass

import msgspec

from router.domain.ledger import Outcome
from router.domain.routes import Candidate, Credential, FallbackReason, HealthView, Plan
from router.gateway.generation import Generation
from router.gateway.means import Means
from router.gateway.retries import MAX_WAIT_FOR_SAME_S, backoff_s
from router.providers.credentials import choose

_MAY_RECOVER = frozenset({Outcome.SERVER_ERROR, Outcome.CONNECT, Outcome.TIMEOUT, Outcome.RESET, Outcome.RATE_LIMITED})
_TOO_MANY = 429
_CREDENTIAL_REFUSED = frozenset({Outcome.RATE_LIMITED, Outcome.CREDENTIAL})


@dataclass(slots=True)
class Failed(Exception):
    """One attempt brought nothing for the caller. `retry_after` in seconds, if the provider gave any. `instead`: the request
    itself was refused, and only the aliases named for that reason may be asked."""

    outcome: Outcome
    reason: str
    status: int | None = None
    retry_after: float | None = None
    instead: FallbackReason | None = None


class Turn(msgspec.Struct, frozen=True):
    """One attempt to make, after `wait_s` seconds. `credential` None: the provider needs none.

    `is_rotation`: the same target once more, with another of its credentials.
    """

    candidate: Candidate
    credential: Credential | None
    wait_s: float = 0.0
    is_rotation: bool = False


def turn_at(candidate: Candidate, generation: Generation, means: Means) -> Turn:
    """An attempt at `candidate`, with one of the credentials that do not rest."""
    credentials = generation.providers[candidate.target.provider].spec.credentials
    if len(credentials) <= 1:
        return Turn(candidate, credentials[0] if credentials else None)
    resting = means.health.resting(candidate.target.provider)
    return Turn(candidate, choose(credentials, resting, means.ids.draw()) or credentials[0])


class Turns:
    """The order of one request's attempts after the first one: own targets, then the fallbacks that fit, then a second
    visit after a pause.

    At most `max_attempts` targets are called; another credential of the same provider
    comes before another target, and counts for neither that nor the retry budget; a target kept only because it is the
    last is not visited twice. `made`: calls the request has made already, under another plan.
    """

    def __init__(self, generation: Generation, plan: Plan, view: HealthView, means: Means, *, made: int = 0) -> None:
        self._generation = generation
        self._plan = plan
        self._view = view
        self._means = means
        first = plan.candidates or plan.typed.get(FallbackReason.DEFAULT, ())
        self._queue = deque(first[1:])
        self._has_fallen_back = not plan.candidates
        self._turned_to: set[FallbackReason] = set()
        self._failures: list[tuple[Turn, Failed]] = []
        self._visits = 0
        self._made = made

    @property
    def calls(self) -> int:
        """How many targets have been called."""
        return self._made + sum(f.outcome is not Outcome.FORCED and not t.is_rotation for t, f in self._failures)

    def after(self, turn: Turn, failed: Failed, left_s: float) -> Turn | None:
        """The attempt to make after `turn` failed, with `left_s` seconds of the deadline left; None: give up."""
        self._failures.append((turn, failed))
        if left_s <= 0:
            return None
        if failed.outcome in _CREDENTIAL_REFUSED and (other := self._other_credential(turn)) is not None:
            return Turn(turn.candidate, other, is_rotation=True)
        if self.calls >= self._plan.alias.max_attempts:
            return None
        if failed.instead is not None:
            return self._turn_to(failed.instead)
        if not self._queue:
            self._fall_back()
        coming = self._turn(self._queue.popleft()) if self._queue else self._second_visit(left_s)
        if coming is None or failed.outcome is Outcome.FORCED:
            return coming
        return coming if self._means.retries.take(self._plan.alias.name) else None

    def past(self, reason: FallbackReason | None = None) -> Turn | None:
        """The next attempt where one need not be made: its target cannot be told the request, or is certain to refuse it for
        `reason`. That counts as no attempt; None: nobody is left."""
        if reason is not None and reason in self._plan.typed:
            return self._turn_to(reason)
        if not self._queue and self._failures:
            self._fall_back()
        return self._turn(self._queue.popleft()) if self._queue else None

    def _turn_to(self, reason: FallbackReason) -> Turn | None:
        """The next of the aliases named for `reason`; from now on nobody else is asked. No retry: free of their budget."""
        if reason not in self._turned_to:
            self._turned_to.add(reason)
            self._queue = deque(self._plan.typed.get(reason, ()))
            self._has_fallen_back = True
        return self._turn(self._queue.popleft()) if self._queue else None

    def _turn(self, candidate: Candidate) -> Turn:
        return turn_at(candidate, self._generation, self._means)

    def _other_credential(self, turn: Turn) -> Credential | None:
        spec = self._generation.providers[turn.candidate.target.provider].spec
        if len(spec.credentials) <= 1 or turn.credential is None:
            return None
        used = {t.credential.label for t, _ in self._failures if t.credential and t.candidate.target.provider == spec.name}
        return choose(spec.credentials, self._means.health.resting(spec.name) | used, self._means.ids.draw())

    def _fall_back(self) -> None:
        if self._has_fallen_back:
            return
        self._has_fallen_back = True
        typed = self._plan.typed
        if self._failures and all(f.status == _TOO_MANY for _, f in self._failures):
            self._queue.extend(typed.get(FallbackReason.RATE_LIMITED, ()))
        self._queue.extend(typed.get(FallbackReason.DEFAULT, ()))

    def _second_visit(self, left_s: float) -> Turn | None:
        """Back to a target that may have recovered, after full jitter or the time the provider asked for."""
        shaky = self._view.shaky
        able = [(t, f) for t, f in self._failures if f.outcome in _MAY_RECOVER and t.candidate.target.id not in shaky]
        if not able:
            return None
        turn, failed = able[self._visits % len(able)]
        asked = failed.retry_after or 0.0
        wait = max(asked, backoff_s(self._visits, self._means.ids.draw()))
        self._visits += 1
        if asked > MAX_WAIT_FOR_SAME_S or wait >= left_s:
            return None
        again = self._turn(turn.candidate)
        return Turn(again.candidate, again.credential, wait)
