"""Databases for tests: open the one a URL names, and small ledger entries, tenants and keys to put in."""

from dataclasses import replace
from itertools import count
from typing import Any

from msgspec import structs

from router.domain.identity import ApiKey, Tenant, TenantStatus
from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import NanoUSD, Usage
from router.storage.database import Database, sqlite_path
from router.storage.postgres import PostgresDatabase
from router.storage.sqlite import SqliteDatabase

NOW = 1_750_000_000_000_000


async def open_database(url: str) -> Database:
    path = sqlite_path(url)
    return await (PostgresDatabase.open(url) if path is None else SqliteDatabase.open(path))


class CountingIds:
    """Implements domain.ports.Ids."""

    def __init__(self) -> None:
        self._next = count(1)

    def new(self) -> str:
        return f"{next(self._next):032x}"

    def draw(self) -> float:
        return 0.5


TENANT = Tenant("t1", "acme", TenantStatus.ACTIVE, ("*",), {"chat": "gpt"}, {"fast": "gpt"})


def key(number: int, **changes: Any) -> ApiKey:
    return replace(ApiKey(f"k{number}", "t1", f"key {number}", f"p{number}", f"d{number}", created_at=NOW), **changes)


ATTEMPT = AttemptEntry(
    attempt=1,
    alias="gpt",
    provider="openai",
    target="openai/gpt-5",
    upstream_model="gpt-5",
    credential="openai#1",
    outcome=Outcome.OK,
    started_at=NOW,
    duration_us=900_000,
    status=200,
    first_byte_us=200_000,
    usage=Usage(100, 20, cached_input_tokens=40, searches=3),
    cost=NanoUSD(12_345),
    upstream_request_id="req_up",
)


def entry(number: int, **changes: Any) -> LedgerEntry:
    """A request that ended well at its first attempt."""
    made = LedgerEntry(
        id=f"{number:032x}",
        request_id=f"caller-{number}",
        tenant_id="t1",
        tenant="acme",
        key_id="k1",
        key="demo",
        api="chat",
        alias="gpt",
        requested_model="gpt",
        stream=False,
        outcome=Outcome.OK,
        status=200,
        code="",
        started_at=NOW + number,
        duration_us=1_000_000,
        first_byte_us=210_000,
        usage=ATTEMPT.usage,
        cost=ATTEMPT.cost,
        price_known=True,
        attempts=(ATTEMPT,),
        user="u-7",
        tags=(("env", "prod"), ("team", "a")),
        metadata='{"a":1}',
        fingerprint="f" * 64,
        draw=0.25,
        facets='{"api":"chat"}',
        health="openai/gpt-4",
        member="ann@example.com",
    )
    return structs.replace(made, **changes)
