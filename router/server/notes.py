"""What is known about one HTTP request while it is handled; the edge reads it when the answer is an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from router.domain.identity import Principal


@dataclass(slots=True)
class Notes:
    """`receipt` are headers that even an error answer carries; `is_settled`: the ledger has it, no refusal to observe."""

    request_id: str
    principal: Principal | None = None
    alias: str = ""
    receipt: Mapping[str, str] = field(default_factory=dict)
    is_settled: bool = False


NOTES: web.RequestKey[Notes] = web.RequestKey("notes", Notes)
