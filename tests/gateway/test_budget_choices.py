"""Where money is short: another alias instead of a 402; who is refused without the database; leases that are renewed."""

import pytest

from router.config.snapshot import BudgetSettings
from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms
from router.domain.errors import BudgetExceeded, StorageUnavailable
from router.domain.identity import ModelSet
from router.domain.requests import Kind
from router.domain.routes import Alias, FallbackReason, Target
from router.domain.usage import NanoUSD, Price
from router.gateway.purses import LEASE_S, OverBudget
from router.gateway.reach import Reach
from tests.gateway.fakes import FakeClock, answer, chat, principal, status
from tests.gateway.table import PRICE
from tests.gateway.test_budgets import REQUEST, SOFT, Counting, R, ask

DEAR = Price(input=PRICE.input * 100, output=PRICE.output * 100)


def priced(
    name: str, provider: str, price: Price | None, *instead: str, budget: int | None = None, **changes: object
) -> Alias:
    """An alias with one target, which is asked at `price`."""
    fallbacks = {FallbackReason.BUDGET: instead} if instead else {}
    own = None if budget is None else Budget(BudgetScope.MODEL, name, NanoUSD(budget))
    targets = (Target(f"{provider}/m", provider, "m", price=price),)
    return Alias(name, Kind.CHAT, targets, fallbacks=fallbacks, budget=own, **changes)  # type: ignore[arg-type]  # to order


# -- on_budget ------------------------------------------------------------------------------------------------------


async def test_an_alias_named_on_budget_is_asked_instead_of_a_402() -> None:
    table = Counting(2 * R, priced("a", "dear", DEAR, "b"), priced("b", "cheap", PRICE), dear=[answer()], cheap=[answer()])
    got = await ask(table)
    assert table.transport.hosts == ["cheap"]
    assert (table.entry.alias, table.entry.attempts[0].alias, table.entry.requested_model) == ("a", "b", "a")
    assert got.case.plan.alias.name == "a"


async def test_while_the_budget_has_room_nothing_else_is_asked() -> None:
    table = Counting(900 * R, priced("a", "dear", DEAR, "b"), priced("b", "cheap", PRICE), dear=[answer()], cheap=[answer()])
    await ask(table)
    assert table.transport.hosts == ["dear"]


async def test_an_alias_s_own_budget_does_not_count_what_another_answers_instead_whose_own_does() -> None:
    table = Counting(
        10**12,
        priced("a", "p", PRICE, "b", budget=R - 1),
        priced("b", "q", PRICE, budget=10 * R),
        p=[answer()],
        q=[answer()],
    )
    await ask(table)
    assert [p.budget for p in table.entry.attempts[0].postings] == ["tenant:t1", "model:b"]


async def test_they_are_tried_in_order_and_each_may_name_more() -> None:
    table = Counting(
        2 * R,
        priced("a", "p", DEAR, "b", "d"),
        priced("b", "q", DEAR, "c"),
        priced("c", "r", DEAR),
        priced("d", "s", PRICE),
        p=[answer()],
        q=[answer()],
        r=[answer()],
        s=[answer()],
    )
    await ask(table)
    assert table.transport.hosts == ["s"]


async def test_the_402_is_that_of_the_alias_that_was_asked_for_where_no_other_can_be_paid() -> None:
    table = Counting(
        2 * R,
        priced("a", "p", DEAR, "unpriced", "dearer", budget=R - 1),
        priced("unpriced", "q", None, budget=10**12),
        priced("dearer", "q", DEAR, budget=0),
        p=[answer()],
        q=[answer()],
    )
    table.who = principal()
    with pytest.raises(OverBudget, match="budget of this model") as caught:
        await ask(table)
    assert caught.value.purse.budget.subject == "a"
    assert table.transport.calls == [] and table.ledger.entries == []
    assert all(purse.held == 0 for purse in table.purses._purses.values())


async def test_an_alias_that_the_key_may_not_use_is_not_asked_instead() -> None:
    table = Counting(2 * R, priced("a", "p", DEAR, "b"), priced("b", "q", PRICE), p=[answer()], q=[answer()])
    table.who = principal(budgets=(table.budget,), key_models=ModelSet.of(["a"]))
    with pytest.raises(BudgetExceeded):
        await ask(table)
    assert table.transport.calls == []


async def test_money_that_is_short_for_a_retry_leads_there_too_and_calls_are_counted_on() -> None:
    first = Alias(
        "a",
        Kind.CHAT,
        (Target("p/m", "p", "m", price=PRICE), Target("dear/m", "dear", "m", price=DEAR, priority=1)),
        fallbacks={FallbackReason.BUDGET: ("b",)},
    )
    second = Alias("b", Kind.CHAT, tuple(Target(f"{n}/m", n, "m", price=PRICE) for n in ("q", "r")), max_attempts=2)
    table = Counting(3 * R, first, second, p=[status(500)], dear=[answer()], q=[status(500)], r=[status(500)])
    with pytest.raises(Exception, match="no target answered after 2 attempts"):
        await ask(table)
    assert table.transport.hosts[0] == "p"
    assert table.transport.hosts[1] in {"q", "r"}
    assert [attempt.alias for attempt in table.entry.attempts] == ["a", "b"]


# -- without the database -------------------------------------------------------------------------------------------


class Denying(Counting):
    """A tenant's budget that is not spent while the database is out of reach."""

    def __init__(self, *, denies: bool = True, terms: BudgetTerms | None = None) -> None:
        changes = {"budgets": BudgetSettings(denies_on_db_loss=denies)}
        super().__init__(1000 * R, p=[answer()], changes=changes, terms=terms or BudgetTerms())

    async def lose_the_database(self) -> None:
        with pytest.raises(StorageUnavailable):
            await self.reach.ask(_gone, "p")


async def _gone(_prefix: str) -> None:
    raise StorageUnavailable("gone")


async def _there(_prefix: str) -> None: ...


async def test_with_deny_a_hard_budget_is_not_spent_from_leases_while_the_database_is_away() -> None:
    table = Denying()
    await ask(table)
    await table.lose_the_database()
    with pytest.raises(StorageUnavailable, match="a hard budget is not spent without it"):
        await ask(table)
    assert len(table.transport.calls) == 1
    table.clock.pass_(1)
    await table.reach.ask(_there, "p")
    await ask(table)


async def test_with_lease_it_is() -> None:
    table = Denying(denies=False)
    await ask(table)
    await table.lose_the_database()
    await ask(table)


async def test_a_soft_budget_is_denied_to_nobody() -> None:
    table = Denying(terms=SOFT)
    await table.lose_the_database()
    await ask(table)


async def test_one_of_many_asks_a_database_that_is_away() -> None:
    reach = Reach(FakeClock())
    with pytest.raises(StorageUnavailable, match="gone"):
        await reach.ask(_gone, "p")
    with pytest.raises(StorageUnavailable, match="gone"):
        await reach.ask(_there, "p")
    assert reach.is_lost


# -- leases -----------------------------------------------------------------------------------------------------------


async def test_a_lease_in_use_is_renewed_at_half_its_life_and_never_has_to_be_taken_anew() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    takes = table.rows.takes
    await table.purses.renew()
    assert table.rows.renewals == 0
    for _ in range(5):
        table.clock.pass_(LEASE_S * 0.6)
        await table.purses.renew()
    assert table.rows.renewals == 5
    await ask(table)
    assert table.rows.takes == takes


async def test_a_purse_that_holds_nothing_is_not_renewed() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    table.flush()
    await table.purses.close()
    table.clock.pass_(LEASE_S * 0.6)
    await table.purses.renew()
    assert table.rows.renewals == 0


async def test_a_lease_that_is_not_renewed_is_taken_anew_before_anything_is_reserved() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    table.flush()
    table.clock.pass_(LEASE_S * 0.6)
    takes = table.rows.takes
    [name] = table.rows.leased
    table.rows.posted[name] = 1000 * R
    await table.purses.renew()
    with pytest.raises(BudgetExceeded):
        await ask(table)
    assert table.rows.takes == takes + 1
    assert (table.rows.leased[name], table.purses._purses[name].leased) == (0, 0)


async def test_without_the_database_a_lease_stays_good_to_its_end() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    table.rows.failure = StorageUnavailable("gone")
    table.clock.pass_(LEASE_S * 0.6)
    with pytest.raises(StorageUnavailable):
        await table.purses.renew()
    await ask(table)
    table.clock.pass_(LEASE_S * 0.5)
    with pytest.raises(StorageUnavailable):
        await ask(table)


async def test_a_soft_budget_s_spending_of_before_is_seen_once_where_nobody_else_spends() -> None:
    table = Counting(100 * R, p=[answer()], terms=SOFT)
    period = table.budget.period_at(table.clock.now_us())
    table.rows.posted[table.budget.id, period.key] = 90 * R
    await ask(table)
    await table.purses.refresh(is_alone=True)
    got = await ask(table)
    assert got.purse is not None and got.purse.spent == 90 * R + 40
    table.rows.posted.clear()
    await table.purses.refresh(is_alone=True)
    assert got.purse.spent == 90 * R + 40
    await table.purses.refresh(is_alone=False)
    assert got.purse.spent == 40


# -- what an error tells ----------------------------------------------------------------------------------------------


async def test_an_error_knows_the_budget_that_refused_else_the_nearest_one_and_none_where_none_is_known() -> None:
    table = Counting(100 * R, p=[status(500)])
    opening = table.open(REQUEST, table.who)
    with pytest.raises(Exception, match="no target answered") as caught:
        await opening.__aenter__()
    purse = opening.purse_for(caught.value)  # type: ignore[arg-type]  # whatever it is
    assert purse is not None and purse.budget is table.budget
    small = Budget(BudgetScope.MEMBER, "t1/u1", NanoUSD(1), BudgetTerms(BudgetMode.HARD))
    opening = table.open(REQUEST, principal(budgets=(table.budget, small)))
    with pytest.raises(OverBudget, match="budget of this member") as refused:
        await opening.__aenter__()
    purse = opening.purse_for(refused.value)
    assert purse is not None and purse.budget is small
    fresh = Counting(100 * R, p=[answer()])
    opening = fresh.open(chat(), fresh.who)
    with pytest.raises(Exception, match="output cap") as unbounded:
        await opening.__aenter__()
    assert opening.purse_for(unbounded.value) is None  # type: ignore[arg-type]  # whatever it is
