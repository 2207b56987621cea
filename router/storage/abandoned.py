"""The ledger's word on a lease whose process and journal are lost: one request that may have been many."""

from typing import NamedTuple

from router.domain.budgets import BudgetScope, Posting
from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import NanoUSD, Usage
from router.storage.database import Transaction

ABANDONED = "abandoned"
"""The code of such a request."""

_KEY = """
    SELECT k.name, t.id AS tenant, t.name AS tenant_name FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
    WHERE k.id = $1"""
_TENANT = "SELECT name FROM tenants WHERE id = $1"
_MEMBER = "SELECT email FROM users WHERE id = $1"


async def abandoned_entry(
    tx: Transaction, lease: tuple[str, str], remaining: NanoUSD, *, named: str, instance: str, at: int
) -> LedgerEntry:
    """`lease` is (budget, period). Tenant, key and alias are named as far as the budget tells; what it does not is "".

    `named` is the request's id; its id as the caller knew it is the `instance`, so that it is found by that.
    """
    budget, period = lease
    scope, _, subject = budget.partition(":")
    alias = subject if scope == BudgetScope.MODEL else ""
    whose = await _holder(tx, scope, subject)
    attempt = AttemptEntry(
        attempt=1,
        alias=alias,
        provider="",
        target="",
        upstream_model="",
        credential="",
        outcome=Outcome.RECOVERED,
        started_at=at,
        duration_us=0,
        usage=Usage(estimated=True),
        cost=remaining,
        reason=f"the lease of {budget} for {period}, abandoned with its process",
        held=remaining,
        postings=(Posting(budget, period, is_leased=True),),
    )
    return LedgerEntry(
        id=named,
        request_id=instance,
        tenant_id=whose.tenant_id,
        tenant=whose.tenant,
        key_id=whose.key_id,
        key=whose.key,
        api="",
        alias=alias,
        requested_model=alias,
        stream=False,
        outcome=Outcome.RECOVERED,
        status=0,
        code=ABANDONED,
        started_at=at,
        duration_us=0,
        first_byte_us=None,
        usage=attempt.usage,
        cost=remaining,
        price_known=True,
        attempts=(attempt,),
        member=whose.member,
    )


class _Holder(NamedTuple):
    tenant_id: str = ""
    tenant: str = ""
    key_id: str = ""
    key: str = ""
    member: str = ""


async def _holder(tx: Transaction, scope: str, subject: str) -> _Holder:
    """Whose budget it is, as far as names are still known. A member's subject is TENANT/USER."""
    if scope == BudgetScope.KEY:
        key = await tx.one(_KEY, subject)
        return _Holder(key_id=subject) if key is None else _Holder(key["tenant"], key["tenant_name"], subject, key["name"])
    if scope not in {BudgetScope.TENANT, BudgetScope.MEMBER}:
        return _Holder()
    tenant_id, _, user_id = subject.partition("/")
    tenant = await tx.one(_TENANT, tenant_id)
    member = await tx.one(_MEMBER, user_id) if user_id else None
    return _Holder(tenant_id, "" if tenant is None else tenant["name"], member="" if member is None else member["email"])
