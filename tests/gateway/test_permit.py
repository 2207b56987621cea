"""What is worked out once for a key and a model is worked out anew where what it follows from has changed."""

import pytest

from router.domain.budgets import BudgetTerms
from router.domain.errors import ModelNotFound
from router.domain.ledger import AttemptTerms, OpenedAttempt
from router.domain.limits import Limits, LimitScope
from router.domain.requests import Api
from router.gateway.permit import MAX_PERMITS, permit_for
from tests.gateway.fakes import answer, chat, principal
from tests.gateway.table import Table, alias
from tests.gateway.test_budgets import Counting

DAY_S = 86_400.0
DAILY = BudgetTerms(schedule="daily")


def terms_written(table: Table) -> list[AttemptTerms]:
    return [line.terms for kind, line in table.journal.lines if kind == "opened" and isinstance(line, OpenedAttempt)]


async def test_a_permit_is_made_once_for_a_name_and_a_generation() -> None:
    table, who = Table(alias("a", "p")), principal()
    first = permit_for(table.generation, who, Api.CHAT, "a", None)

    assert permit_for(table.generation, who, Api.CHAT, "a", None) is first
    assert permit_for(Table(alias("a", "p")).generation, who, Api.CHAT, "a", None) is not first


async def test_a_new_generation_decides_anew() -> None:
    """The alias has gone, and its limits have changed: the key that has used it must feel both at once."""
    who = principal()
    permit_for(Table(alias("a", "p")).generation, who, Api.CHAT, "a", None)
    limited = Table(alias("a", "p", limits=Limits(requests=1)))

    [rule] = permit_for(limited.generation, who, Api.CHAT, "a", None).rules
    assert (rule.scope, rule.limits.requests) == (LimitScope.MODEL, 1)
    with pytest.raises(ModelNotFound):
        permit_for(Table(alias("b", "p")).generation, who, Api.CHAT, "a", None)


async def test_a_refusal_is_not_remembered() -> None:
    table, who = Table(alias("a", "p")), principal()
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            permit_for(table.generation, who, Api.CHAT, "nothing", None)
    assert not who.permits


async def test_a_key_keeps_few_permits_however_many_names_a_wildcard_has() -> None:
    table, who = Table(alias("open/*", "p")), principal()

    for number in range(3 * MAX_PERMITS):
        permit_for(table.generation, who, Api.CHAT, f"open/{number}", None)

    assert len(who.permits) <= MAX_PERMITS


async def test_a_request_counts_in_the_period_in_which_it_was_admitted() -> None:
    table = Counting(10**12, terms=DAILY, p=[answer()] * 3)
    for days in (0.0, 0.0, DAY_S):
        table.clock.pass_(days)
        async with table.open(chat(max_tokens=5), table.who):
            pass

    periods = [[posting.period for posting in terms.postings] for terms in terms_written(table)]
    assert periods[0] == periods[1] != periods[2]


async def test_the_line_before_an_attempt_names_what_is_asked_and_who_pays() -> None:
    table = Counting(10**12, p=[answer()])
    async with table.open(chat(max_tokens=5), table.who):
        pass

    [terms] = terms_written(table)
    assert (terms.tenant_id, terms.key_id, terms.alias, terms.target, terms.api) == ("t1", "k1", "a", "p/m", "chat")
    assert [posting.budget for posting in terms.postings] == [table.budget.id]
