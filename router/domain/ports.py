"""What the gateway needs from the world, beside the nouns it needs them for. Each method says which errors it may raise."""

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from router.domain.alerts import Alert
from router.domain.budgets import Budget, Lease, Period, Standing
from router.domain.idempotency import Claim, Earlier, KeptAnswer
from router.domain.identity import ApiKey, Tenant
from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt
from router.domain.limits import Allowance, LimitRule, Refusal
from router.domain.observations import Observation
from router.domain.responses import KeptResponse
from router.domain.upstream import UpstreamAnswer, UpstreamCall


class Clock(Protocol):
    def now_us(self) -> int:
        """Wall clock, microseconds since the epoch. For records, never for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps. For durations and deadlines."""
        ...


class Ids(Protocol):
    def new(self) -> str:
        """A new unique id, sortable by time: 32 hex digits."""
        ...

    def draw(self) -> float:
        """A uniform number in [0, 1)."""
        ...


class Tasks(Protocol):
    """Background work the app waits for on shutdown; the only way to start a task."""

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Start `work`; an exception is observed as a Failure, not lost."""
        ...


class KeyStore(Protocol):
    async def find_key(self, prefix: str) -> tuple[ApiKey, Tenant] | None:
        """The key with this prefix and its tenant; None if there is none. Raises StorageUnavailable."""
        ...


class Ledger(Protocol):
    @property
    def fault(self) -> str:
        """Why nothing can be recorded now, for the operator; "" while it can."""
        ...

    def accepting(self) -> bool:
        """Whether `record` would keep an entry now: asked before a request is sent to any provider."""
        ...

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        """Take finished requests; durable soon after. Never blocks. Raises StorageUnavailable when they cannot be kept."""
        ...


class IdempotencyStore(Protocol):
    """The keys of callers, for all processes on one database. Every method raises StorageUnavailable."""

    async def claim(self, claim: Claim) -> Earlier | None:
        """None: the name was free, and is this process's until `keep`, `free` or the end of the process."""
        ...

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> None:
        """It is answered, for 24 hours from now; None is an answer too large to be kept. Does nothing the second time."""
        ...

    async def free(self, claim: Claim) -> None:
        """It was not answered: the next one may try."""
        ...

    async def sweep(self) -> int:
        """Forget what has expired, and what dead processes have left open; how many."""
        ...


class ResponseStore(Protocol):
    """The responses of callers, for all processes on one database. Another tenant's is none. Every method raises
    StorageUnavailable."""

    async def begin(self, response: KeptResponse) -> None:
        """It is under way in this process, until `end`, `forget` or the end of the process."""
        ...

    async def advance(self, name: str) -> None:
        """From queued to in progress."""
        ...

    async def end(self, response: KeptResponse) -> bool:
        """It has ended, or was never under way. False if somebody has ended it before: that stands."""
        ...

    async def stop(self, tenant: str, name: str) -> bool:
        """Cancelled, from whichever process; the one that works on it learns of it by `stopped`. False if it has ended."""
        ...

    async def stopped(self) -> Sequence[str]:
        """Which of this process's responses were cancelled elsewhere; each is told until it is ended."""
        ...

    async def forget(self, tenant: str, name: str) -> bool:
        """It is found no more; what it said stays as long as a later turn goes on from it. False if there is none."""
        ...

    async def find(self, tenant: str, name: str) -> KeptResponse | None: ...

    async def turns(self, tenant: str, name: str) -> Sequence[KeptResponse]:
        """It and what came before it, the oldest first; empty if there is none, or if a turn of it is gone."""
        ...

    async def holders(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, KeptResponse]:
        """By the id of an item the latest response that has it; those that nobody has are left out."""
        ...

    async def add_events(self, name: str, number: int, frames: bytes) -> None:
        """Whole frames of a stream, piece by piece: numbers rise."""
        ...

    async def events(self, name: str, after: int) -> Sequence[tuple[int, bytes]]:
        """The pieces with numbers above `after`."""
        ...

    async def sweep(self) -> int:
        """Forget what has expired and nobody goes on from, and end what dead processes have left open; how many."""
        ...


class LedgerStore(Protocol):
    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        """Insert requests and attempts in one transaction; rows that exist stay as they are. Raises StorageUnavailable."""
        ...


class BudgetStore(Protocol):
    """The budgets' rows, the only truth about money. Every method raises StorageUnavailable."""

    async def take(self, budget: Budget, period: Period, need: int, processes: int) -> Lease | Standing:
        """Set aside at least `need` for this process (domain.budgets.lease_amount says how much), never past the limit.

        A Standing is a refusal: nothing was taken, and other processes have been asked to give back what they can.
        """
        ...

    async def give_back(self, budget: str, period: str, amount: int) -> None:
        """Return what this process took and did not use."""
        ...

    async def renew(self, budget: Budget, period: Period) -> bool:
        """Go on with what this process holds; False if it holds nothing, or more is posted and leased than the limit."""
        ...

    async def wanted(self) -> Sequence[tuple[str, str]]:
        """(budget, period) rows that somebody was refused for and that this process holds a lease of."""
        ...

    async def standing(self, budget: Budget, period: Period) -> Standing:
        """The row as it is, without taking anything."""
        ...


class Journal(Protocol):
    """What makes an attempt survive the death of the process: a line before it is sent, and one when it has ended."""

    def opened(self, line: OpenedAttempt) -> Awaitable[None] | None:
        """Write that an attempt is about to be sent. What it returns, if anything, must be awaited before sending.

        Raises StorageUnavailable when the journal cannot be written: nothing may be sent then.
        """
        ...

    def progressed(self, request: str, attempt: int, output_tokens: int) -> None:
        """A checkpoint of a long stream. Never raises."""
        ...

    def ended(self, request: str, attempt: AttemptEntry) -> None:
        """An attempt has ended while its request goes on. Never raises."""
        ...

    def finished(self, entries: Sequence[LedgerEntry]) -> None:
        """Requests have ended, with all their attempts. Never raises."""
        ...

    def flushed(self, entries: Sequence[LedgerEntry]) -> None:
        """These are in the database: their lines may go."""
        ...

    def accepting(self) -> bool:
        """Whether `opened` would write now."""
        ...


class LedgerJournal(Journal, Protocol):
    """A journal as the ledger's queue sees it: also the place for what does not fit into memory."""

    @property
    def fault(self) -> str:
        """Why nothing new is accepted, "" while all is well."""
        ...

    @property
    def deferred(self) -> int:
        """Finished requests that are kept on disk alone."""
        ...

    def defer(self, entry: LedgerEntry) -> None:
        """`entry`, given to `finished` just now, will not be remembered by the caller. Never raises."""
        ...

    async def reread(self) -> Sequence[LedgerEntry]:
        """Some deferred requests, the oldest first, which are the caller's again. Some may be in the database already.

        Raises StorageUnavailable when they cannot be read now.
        """
        ...


class Estate(Protocol):
    """The journal of a process that has died; ours alone until it is removed or released. May block: call it in a thread."""

    instance: str

    @property
    def damaged(self) -> int:
        """Lines that could not be read, so far."""
        ...

    def read(self, limit: int) -> list[LedgerEntry]:
        """The next of its requests, those without an end last; none at the end. Raises OSError."""
        ...

    def remove(self) -> None:
        """Everything in it is in the database. Raises OSError; it is released all the same."""
        ...

    def release(self) -> None:
        """Leave it to be found again. Nothing after `remove`."""
        ...


class Reservation(Protocol):
    """What one request holds of its limits. Settled exactly once; a second settle does nothing."""

    allowance: Allowance

    def settle(self, tokens: int) -> None:
        """Give the slots back and replace the held tokens by the `tokens` really used. Never raises, never waits:
        leaving a request must be one step that no cancellation can cut in two."""
        ...


class Limiter(Protocol):
    def decide(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal | None:
        """What `acquire` answers, where it need not wait; None, and nothing is held, where it must be asked."""
        ...

    async def acquire(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        """Hold one request, `tokens` tokens and one slot under every rule, or nothing at all."""
        ...


class AddressLimiter(Protocol):
    def admit(self, address: str) -> int | None:
        """Count one request of this client address; None if admitted, else milliseconds to wait. Process-local."""
        ...


class Transport(Protocol):
    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """Send, and return when the head of the answer has arrived. Raises TransportFailure."""
        ...

    async def close(self) -> None: ...


class Observer(Protocol):
    def emit(self, observation: Observation) -> None:
        """Note it. Never blocks, never raises."""
        ...


class Notifier(Protocol):
    def notify(self, alert: Alert) -> None:
        """Tell the people concerned, soon, and at most once a cool-down. Never blocks, never raises."""
        ...


class TokenCounter(Protocol):
    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        """How many tokens `tokenizer` (config.tokenizers) makes of `texts`, each by itself; None where it cannot say.

        Never raises.
        """
        ...


class Notices(Protocol):
    """What other processes on the same database change, told to those it was made for.

    It may be late, repeated or lost: nothing may depend on it, and whoever is told also looks from time to time.
    """

    @property
    def is_heard(self) -> bool:
        """Whether they arrive at once now; then looking may be rare."""
        ...

    async def run(self) -> None:
        """Listen until cancelled."""
        ...


class Pinger(Protocol):
    """A dependency that `/health` reports on."""

    name: str

    async def ping(self) -> None:
        """Return if it answers; raise anything otherwise."""
        ...
