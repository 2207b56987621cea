"""What is known about one HTTP request while it is handled; the edge reads it when the answer is an error."""

from collections.abc import Mapping

import msgspec

from router.domain.identity import Principal

_NOTHING: Mapping[str, str] = {}


class Notes(msgspec.Struct):
    """`id` is ours and unique, `request_id` the caller's own or the same.

    `route` is the table's name for the path, never the path itself: a label that callers cannot invent.

    `rest` is what a prefix route leaves of the path. `receipt` are headers that even an error answer carries;
    `is_settled`: the ledger has the request, so there is no refusal to observe.
    """

    id: str
    request_id: str
    route: str = "unknown"
    rest: str = ""
    principal: Principal | None = None
    alias: str = ""
    receipt: Mapping[str, str] = _NOTHING
    is_settled: bool = False
