"""The rule of idempotency keys: whose key it is, what ends a claim, and what becomes of endings nobody could write."""

from typing import Any

import msgspec
import pytest

from router.domain.budgets import Budget, BudgetScope
from router.domain.errors import (
    BudgetExceeded,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InvalidRequest,
    ModelNotFound,
    StorageUnavailable,
)
from router.domain.idempotency import MAX_KEPT_BYTES, Claim, KeptAnswer
from router.domain.identity import ModelSet
from router.domain.usage import NanoUSD
from router.gateway.idempotency import MAX_OWED_BYTES, Idempotency, KeyedRequest, is_final, permit_replay
from tests.gateway.fakes import answer, chat, principal
from tests.gateway.keys import KeyTable
from tests.gateway.table import Table, alias

ANSWER = KeptAnswer(200, {"Content-Type": "application/json"}, b"{}")


def asked(key: str = "k", id: str = "r1", **changes: Any) -> KeyedRequest:  # noqa: A002  the field's own name
    known: dict[str, Any] = {
        "key": key,
        "route": "/v1/chat/completions",
        "principal": principal(),
        "request": chat(),
        "tier": None,
        "id": id,
    }
    return KeyedRequest(**(known | changes))


async def claimed(keys: Idempotency, request: KeyedRequest) -> Claim:
    claim = await keys.claim(request)
    assert isinstance(claim, Claim)
    return claim


async def test_a_kept_answer_is_given_to_whoever_asks_the_same() -> None:
    keys = Idempotency(KeyTable(), b"s")
    await keys.keep(await claimed(keys, asked()), ANSWER)
    assert await keys.claim(asked(id="r2")) == ANSWER


@pytest.mark.parametrize(
    "other",
    [
        {"principal": principal(tenant_id="t2")},
        {"principal": principal(key_id="k2")},
        {"route": "/v1/completions"},
        {"key": "K"},
    ],
    ids=["tenant", "key", "route", "name"],
)
async def test_the_same_key_of_another_is_another_key(other: dict[str, Any]) -> None:
    keys = Idempotency(KeyTable(), b"s")
    await keys.keep(await claimed(keys, asked()), ANSWER)
    await claimed(keys, asked(**other))


@pytest.mark.parametrize(
    "other", [{"request": chat(temperature=1)}, {"tier": "smart"}, {"tier": "fast"}], ids=["body", "tier", "other tier"]
)
@pytest.mark.parametrize("is_finished", [False, True])
async def test_the_same_key_for_something_else_is_a_mismatch(other: dict[str, Any], is_finished: bool) -> None:
    keys = Idempotency(KeyTable(), b"s")
    claim = await claimed(keys, asked(tier="cheap"))
    if is_finished:
        await keys.keep(claim, ANSWER)
    with pytest.raises(IdempotencyMismatch):
        await keys.claim(asked(**({"tier": "cheap"} | other)))


async def test_nothing_of_key_or_body_can_be_read_from_a_claim() -> None:
    claim = await claimed(Idempotency(KeyTable(), b"s"), asked("my-key"))
    other = await claimed(Idempotency(KeyTable(), b"other secret"), asked("my-key"))
    assert claim.name != other.name
    assert claim.fingerprint != other.fingerprint
    assert "my-key" not in claim.name


async def test_under_way_is_told_to_retry_and_too_large_is_not() -> None:
    keys = Idempotency(KeyTable(), b"s")
    claim = await claimed(keys, asked())
    with pytest.raises(IdempotencyInProgress) as busy:
        await keys.claim(asked())
    assert busy.value.retry_after_s == 1.0
    await keys.keep(claim, msgspec.structs.replace(ANSWER, body=bytes(MAX_KEPT_BYTES + 1)))
    with pytest.raises(IdempotencyInProgress, match="4 MiB") as spent:
        await keys.claim(asked())
    assert spent.value.retry_after_s is None


async def test_a_body_of_four_mebibytes_is_kept() -> None:
    keys = Idempotency(KeyTable(), b"s")
    whole = msgspec.structs.replace(ANSWER, body=bytes(MAX_KEPT_BYTES))
    await keys.keep(await claimed(keys, asked()), whole)
    assert await keys.claim(asked()) == whole


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a\x7f", "caf\u00e9", "\udce9"])
async def test_what_is_no_key_is_an_invalid_request(key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 255 printable") as refusal:
        await Idempotency(KeyTable(), b"s").claim(asked(key))
    assert refusal.value.param == "Idempotency-Key"


@pytest.mark.parametrize("key", ["x", "a b", "~" * 255])
async def test_what_is_a_key_is_taken(key: str) -> None:
    await claimed(Idempotency(KeyTable(), b"s"), asked(key))


def test_what_the_same_request_would_be_answered_again_is_final() -> None:
    assert [code for code in (200, 400, 404, 408, 409, 413, 422, 425, 429, 500, 503) if is_final(code)] == [
        200,
        400,
        404,
        413,
        422,
    ]


async def test_an_answer_that_cannot_be_written_keeps_its_key_taken_until_it_is() -> None:
    store = KeyTable()
    keys = Idempotency(store, b"s")
    claim = await claimed(keys, asked())
    store.is_away = True
    await keys.keep(claim, ANSWER)
    await keys.pay()
    store.is_away = False
    with pytest.raises(IdempotencyInProgress):
        await keys.claim(asked())
    await keys.pay()
    assert await keys.claim(asked()) == ANSWER


async def test_a_claim_whose_word_was_lost_is_freed_later() -> None:
    store = KeyTable()
    keys = Idempotency(store, b"s")
    store.loses_answers = True
    with pytest.raises(StorageUnavailable):
        await keys.claim(asked())
    store.loses_answers = False
    with pytest.raises(IdempotencyInProgress):
        await keys.claim(asked())
    await keys.pay()
    await claimed(keys, asked())


async def test_answers_that_wait_for_the_database_are_bounded_but_not_that_they_were_given() -> None:
    store = KeyTable()
    keys = Idempotency(store, b"s")
    large = msgspec.structs.replace(ANSWER, body=bytes(MAX_KEPT_BYTES))
    claims = [await claimed(keys, asked(f"k{n}", f"r{n}")) for n in range(MAX_OWED_BYTES // MAX_KEPT_BYTES + 2)]
    store.is_away = True
    for claim in claims:
        await keys.keep(claim, large)
    store.is_away = False
    await keys.pay()
    assert len(store.ended) == len(claims)
    assert sum(kept is None for _, kept in store.ended.values()) == 2


async def test_whoever_may_still_ask_is_told_again() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    permit_replay(table.gateway, table.generation, asked())


async def test_whoever_may_not_use_the_model_any_more_is_told_nothing() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    with pytest.raises(ModelNotFound):
        permit_replay(table.gateway, table.generation, asked(principal=principal(key_models=ModelSet.of(("b",)))))


@pytest.mark.parametrize(("limit", "is_told"), [(20, False), (21, True)])
async def test_a_budget_that_is_all_spent_refuses_and_one_with_a_rest_does_not(limit: int, is_told: bool) -> None:
    table = Table(alias("a", "p"), p=[answer()])
    who = principal(budgets=(Budget(BudgetScope.KEY, "k1", NanoUSD(limit)),))
    purse = table.purses.purse(who.budgets[0], who.budgets[0].period_at(table.clock.now_us()))
    purse.spent_since = purse.unflushed = 20
    if is_told:
        permit_replay(table.gateway, table.generation, asked(principal=who))
    else:
        with pytest.raises(BudgetExceeded):
            permit_replay(table.gateway, table.generation, asked(principal=who))
