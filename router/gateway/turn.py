"""One turn of a kept conversation: the request as it is planned and sent, and the response as it is kept and told."""

from typing import NamedTuple

import msgspec

from router.config.snapshot import ResponseRetention
from router.domain.errors import BodyTooLarge
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.responses import BRIEFLY_US, KeptResponse, ResponseStatus
from router.gateway.generation import Generation
from router.gateway.response_items import (
    MAX_NAMED,
    Asked,
    array_of,
    context_of,
    items_of,
    named_items,
    names_items,
    rewritten,
)
from router.gateway.response_stamp import Members
from router.gateway.responses import Responses


class Turn(NamedTuple):
    """`request` is told whole, with nothing left that a provider would have to remember. `items` are its own, as JSON.

    `is_kept`: it is found later, under `id`. `members` go over those of every response object that its caller is told.
    """

    id: str
    tenant_id: str
    request: ModelRequest
    items: bytes
    previous_id: str | None
    is_kept: bool
    is_background: bool
    created_at: int
    kept_us: int
    members: Members

    def kept(self, status: ResponseStatus, answer: bytes, now: int) -> KeptResponse:
        """As it is written down; `now` begins its time once it has ended."""
        response = KeptResponse(
            id=self.id,
            tenant_id=self.tenant_id,
            previous_id=self.previous_id,
            status=status,
            input=self.items,
            answer=answer,
            created_at=self.created_at,
            expires_at=now + self.kept_us,
            is_background=self.is_background,
            is_streamed=self.is_background and self.request.stream,
        )
        names = list(named_items(response))[-MAX_NAMED:] if status.is_final else []
        return msgspec.structs.replace(response, item_ids=tuple(names))


async def turn_of(
    responses: Responses,
    generation: Generation,
    tenant: str,
    request: ModelRequest,
    asked: Asked,
    *,
    name: str,
) -> Turn:
    """Raises NotFound, InvalidRequest, BodyTooLarge, StorageUnavailable."""
    snapshot = generation.snapshot
    previous = asked.previous_response_id or None
    turns = await responses.turns_before(tenant, previous)
    items = items_of(bytes(asked.input))
    may_name = names_items(request.body)
    if may_name:
        items = await responses.resolved(tenant, items, turns)
    # Without `store` the dialect says itself that nothing is to be kept; other targets need not be told of it.
    store = b"false" if asked.store is False else None
    changes: dict[str, bytes | None] = {"store": store, "previous_response_id": None, "background": None}
    if turns or may_name:
        changes["input"] = array_of([*context_of(turns), *items])
    body = rewritten(request.body, changes)
    if len(body) > (limit := snapshot.server.body_limit):
        raise BodyTooLarge(
            f"with the turns before it the request has {len(body)} bytes, over the limit of {limit / 2**20:g} MiB",
            param="previous_response_id",
        )
    is_kept, kept_us = _keeping(snapshot.responses, asked)
    whole = msgspec.structs.replace(parse_request(Api.RESPONSES, body), is_kept_here=store is None)
    return Turn(
        id=name,
        tenant_id=tenant,
        request=whole,
        items=array_of(items),
        previous_id=previous,
        is_kept=is_kept,
        is_background=asked.background is True,
        created_at=responses.clock.now_us(),
        kept_us=kept_us,
        members=_members(name, previous, asked, is_kept=is_kept),
    )


def _keeping(retention: ResponseRetention, asked: Asked) -> tuple[bool, int]:
    """Whether it is kept, and how long. In the background it must be, to be fetched at all."""
    if asked.store is not False:
        return retention.kept_us > 0, retention.kept_us
    return asked.background is True, min(BRIEFLY_US, retention.kept_us)


def _members(name: str, previous: str | None, asked: Asked, *, is_kept: bool) -> Members:
    members: dict[str, bytes] = {}
    if is_kept:
        members = {"id": f'"{name}"'.encode(), "store": b"false" if asked.store is False else b"true"}
    if previous is not None:
        members["previous_response_id"] = msgspec.json.encode(previous)
    if asked.background:
        members["background"] = b"true"
    return members
