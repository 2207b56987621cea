"""How domain values stand in columns: lists and maps as JSON text, limits as three columns, booleans as 0 or 1."""

from collections.abc import Iterable, Mapping

import msgspec

from router.domain.budgets import BudgetMode, BudgetTerms
from router.domain.identity import ApiKey, Member, Tenant, TenantStatus
from router.domain.limits import Limits
from router.domain.usage import NanoUSD
from router.storage.database import Row

_LIST = msgspec.json.Decoder(tuple[str, ...])
_MAP = msgspec.json.Decoder(dict[str, str])

TENANT_COLUMNS = """
    t.id AS tenant_id, t.name AS tenant_name, t.status AS tenant_status, t.models AS tenant_models,
    t.defaults AS tenant_defaults, t.tiers AS tenant_tiers, l.limit_requests AS tenant_requests,
    l.limit_tokens AS tenant_tokens, l.limit_parallel AS tenant_parallel, b.budget_nano AS tenant_budget,
    b.mode AS budget_mode, b.schedule AS budget_schedule, b.timezone AS budget_timezone, b.warning_ppm AS budget_warning"""
TENANT_TABLES = """
    tenants t LEFT JOIN tenant_limits l ON l.tenant_id = t.id AND l.disabled = 0
    LEFT JOIN tenant_budgets b ON b.tenant_id = t.id AND b.disabled = 0"""
KEY_COLUMNS = """
    k.id AS key_id, k.tenant_id AS key_tenant_id, k.name AS key_name, k.prefix, k.digest, k.scopes, k.models AS key_models,
    k.expires_at, k.disabled, k.limit_requests, k.limit_tokens, k.limit_parallel, k.budget_nano, k.created_at,
    k.member_id, u.email AS member_email, m.budget_nano AS member_budget,
    CASE WHEN m.disabled = 0 AND u.disabled = 0 THEN 1 ELSE 0 END AS member_is_active"""
# A key's member stands in the key's own tenant; one whose membership is missing is none.
KEY_MEMBER = """
    LEFT JOIN memberships m ON m.tenant_id = k.tenant_id AND m.user_id = k.member_id
    LEFT JOIN users u ON u.id = k.member_id"""


def json_list(values: Iterable[str]) -> str:
    return msgspec.json.encode(tuple(values)).decode()


def json_map(values: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(values), order="sorted").decode()


def tenant_of(row: Row) -> Tenant:
    return Tenant(
        id=row["tenant_id"],
        name=row["tenant_name"],
        status=TenantStatus(row["tenant_status"]),
        models=_LIST.decode(row["tenant_models"]),
        defaults=_MAP.decode(row["tenant_defaults"]),
        tiers=_MAP.decode(row["tenant_tiers"]),
        limits=Limits(row["tenant_requests"], row["tenant_tokens"], row["tenant_parallel"]),
        budget=None if row["tenant_budget"] is None else NanoUSD(row["tenant_budget"]),
        budget_terms=None if row["tenant_budget"] is None else _terms_of(row),
    )


def _terms_of(row: Row) -> BudgetTerms:
    return BudgetTerms(BudgetMode(row["budget_mode"]), row["budget_schedule"], row["budget_timezone"], row["budget_warning"])


def key_of(row: Row) -> ApiKey:
    return ApiKey(
        id=row["key_id"],
        tenant_id=row["key_tenant_id"],
        name=row["key_name"],
        prefix=row["prefix"],
        digest=row["digest"],
        scopes=_LIST.decode(row["scopes"]),
        models=_LIST.decode(row["key_models"]),
        expires_at=row["expires_at"],
        disabled=bool(row["disabled"]),
        limits=Limits(row["limit_requests"], row["limit_tokens"], row["limit_parallel"]),
        budget=None if row["budget_nano"] is None else NanoUSD(row["budget_nano"]),
        created_at=row["created_at"],
        member=None if row["member_id"] is None else _member_of(row),
    )


def _member_of(row: Row) -> Member:
    budget = row["member_budget"]
    return Member(
        row["member_id"], row["member_email"], None if budget is None else NanoUSD(budget), bool(row["member_is_active"])
    )
