"""The bootstrap section against itself: names exist, prefixes and secrets are usable."""

from pathlib import Path

import pytest

from tests.config.samples import DEMO, ONE_ALIAS, loaded, only, problems

_TENANT = DEMO + ONE_ALIAS + "bootstrap:\n  tenants: [{name: t}]\n"


@pytest.mark.parametrize(
    ("rows", "key", "found", "expected"),
    [
        (
            "  api_keys: [{tenant: u, name: n, prefix: p, secret: 0123456789}]\n",
            "bootstrap.api_keys[0].tenant",
            '"u"',
            "one of t",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: 'p.q', secret: 0123456789}]\n",
            "bootstrap.api_keys[0].prefix",
            '"p.q"',
            "1 to 32",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: p, secret: canary}]\n",
            "bootstrap.api_keys[0].secret",
            "***",
            "at least 8",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: p, secret: 'can ary can ary'}]\n",
            "bootstrap.api_keys[0].secret",
            "***",
            "without spaces",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, expires: soon}]\n",
            "bootstrap.api_keys[0].expires",
            '"soon"',
            "2027-01-31",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, scopes: [chta]}]\n",
            "bootstrap.api_keys[0].scopes[0]",
            '"chta"',
            "one of audio",
        ),
        (
            "  memberships: [{tenant: t, email: a@b.c, role: owner}, {tenant: t, email: A@b.c, role: user}]\n",
            "bootstrap.memberships[1].email",
            "a second time",
            "each member of a tenant once; the first is at router.yaml:5:",
        ),
        (
            (
                "  memberships: [{tenant: t, email: a@b.c, role: owner}]\n"
                "  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, member: b@b.c}]\n"
            ),
            "bootstrap.api_keys[0].member",
            '"b@b.c"',
            "lists for the tenant t: one of a@b.c",
        ),
        (
            "  api_keys: [{tenant: t, name: n, prefix: p, secret: 0123456789, member: a@b.c}]\n",
            "bootstrap.api_keys[0].member",
            '"a@b.c"',
            "it lists none",
        ),
        (
            "  memberships: [{tenant: t, email: a@b.c, role: owner, budget_usd: -1}]\n",
            "bootstrap.memberships[0].budget_usd",
            '"-1"',
            "USD",
        ),
        (
            "  tenant_limits: [{tenant: t, limits: {parallel: 5}}]\n",
            "bootstrap.tenant_limits[0].limits.parallel",
            "unknown key",
            "parallel_requests",
        ),
        (
            "  tenant_budgets: [{tenant: t, budget_usd: 1, refresh_schedule: rolling_0d}]\n",
            "bootstrap.tenant_budgets[0].refresh_schedule",
            '"rolling_0d"',
            "rolling_30d",
        ),
        (
            "  tenant_budgets: [{tenant: t, budget_usd: 1, timezone: Mars}]\n",
            "bootstrap.tenant_budgets[0].timezone",
            '"Mars"',
            "time zone",
        ),
        (
            "  tenant_budgets: [{tenant: t, budget_usd: 1, timezone: ../../etc/passwd}]\n",
            "bootstrap.tenant_budgets[0].timezone",
            "passwd",
            "time zone",
        ),
    ],
)
def test_a_mistake_is_one_located_error(tmp_path: Path, rows: str, key: str, found: str, expected: str) -> None:
    problem = only(problems(tmp_path, _TENANT + rows))
    assert problem.key == key
    assert found in problem.found, problem.render()
    assert expected in problem.expected, problem.render()
    assert problem.line > 0
    assert "canary" not in problem.render()


def test_prefixes_and_names_are_unique(tmp_path: Path) -> None:
    key = "{tenant: t, name: n, prefix: p, secret: 0123456789012345678901}"
    problem = only(problems(tmp_path, _TENANT + f"  api_keys: [{key}, {key}]\n"))
    assert problem.expected.startswith("each prefix once; the first is at router.yaml:5:")


def test_a_pattern_that_reaches_nothing_is_a_warning(tmp_path: Path) -> None:
    result = loaded(tmp_path, DEMO + ONE_ALIAS + "bootstrap: {tenants: [{name: t, models: ['*', a, ab, 'x/*']}]}\n")
    assert ["names no alias" in warning for warning in result.warnings] == [True, True]


def test_a_key_of_a_member_is_one_of_the_member_s_own_tenant(tmp_path: Path) -> None:
    rows = "bootstrap:\n  tenants: [{name: t}, {name: u}]\n  memberships: [{tenant: u, email: a@b.c, role: user}]\n"
    key = "{tenant: %s, name: n, prefix: p, secret: 01234567890123456789, member: A@B.c}"
    assert loaded(tmp_path, DEMO + ONE_ALIAS + rows + f"  api_keys: [{key % 'u'}]\n").config.bootstrap.api_keys[0].member
    found = only(problems(tmp_path, DEMO + ONE_ALIAS + rows + f"  api_keys: [{key % 't'}]\n"))
    assert found.key == "bootstrap.api_keys[0].member"
