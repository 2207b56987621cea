"""What the pipeline yields to the server: a whole body or a stream of whole frames, with the facts for its headers."""

from collections.abc import Mapping

import msgspec

from router.domain.flow import Flow
from router.domain.usage import NanoUSD
from router.gateway.case import Case
from router.gateway.purses import Purse


class Answer(msgspec.Struct, eq=False):
    """What a target said, ready for the caller: `body`, or `frames` of a stream whose first frame has arrived.

    `frames` are whole frames in the upstream's bytes; it raises a GatewayError where the stream breaks. `passed` are
    the provider's headers that travel down. `via` is how the target came in. `cost` None is not yet known: a stream's.
    `purse` is that of the budget nearest to its end, None where no budget applies. `dropped` names what of the request
    its target was not told.
    """

    status: int
    content_type: str
    body: bytes | None
    frames: Flow | None
    passed: Mapping[str, str]
    provider: str
    via: str
    upstream_request_id: str
    attempts: int
    cost: NanoUSD | None
    purse: Purse | None
    case: Case
    dropped: tuple[str, ...] = ()
