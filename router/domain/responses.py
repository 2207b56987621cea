"""Responses that are kept for their callers: what is known of one, and the states it passes through."""

from enum import StrEnum

import msgspec

MAX_TURNS = 4096
"""Of a conversation: more of them are not followed back."""

BRIEFLY_US = 600 * 1_000_000
"""How long a response in the background is kept whose caller asked for none to be stored: to be fetched."""


class ResponseStatus(StrEnum):
    """As the Responses API names them."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"

    @property
    def is_final(self) -> bool:
        return self not in (ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS)


class KeptResponse(msgspec.Struct, frozen=True):
    """One turn. `input` is a JSON array of the request's own items, `answer` the response object; what `status` says goes
    before what the object says. `item_ids` are those by which later requests may name its items; only told to the store.

    `is_streamed`: its events are kept too. `is_orphan`: it is not over, and the process that worked on it is gone.
    """

    id: str
    tenant_id: str
    previous_id: str | None
    status: ResponseStatus
    input: bytes
    answer: bytes
    created_at: int
    expires_at: int
    is_background: bool = False
    is_streamed: bool = False
    item_ids: tuple[str, ...] = ()
    is_orphan: bool = False
