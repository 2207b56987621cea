"""`routerd explain`: the plan of live traffic with its reasons; health from the daemon where one runs."""

from itertools import product

import pytest

from router.cli.explain import view_of
from router.config.compile import compile_snapshot
from router.config.load import load
from router.domain.observations import Observation
from router.domain.requests import Api, Kind
from router.domain.routes import ALL_WELL, Alias, Strategy, Target
from router.gateway.health import Health
from router.gateway.plan import find_alias, make_plan
from tests.cli.commandline import CONFIG, CommandLine
from tests.cli.daemon_socket import DaemonSocket, seen


def test_targets_stand_in_order_with_their_chances(configured: CommandLine) -> None:
    document = configured("explain", "-m", "smart", "--json").document
    assert [(t["target"], t["chance_first"]) for t in document["targets"]] == [("one/large", 0.8), ("two/large", 0.2)]
    assert document["targets"][0]["price_usd_per_million"] == {"input": "1.25", "output": "10.0"}
    assert document["targets"][1]["price_usd_per_million"] is None
    assert document["targets"][1]["timeouts_s"]["connect"] == 0.25
    assert document["limits"] == [
        {
            "scope": "model",
            "subject": "smart",
            "requests_per_minute": 60,
            "tokens_per_minute": None,
            "parallel_requests": None,
        }
    ]
    assert document["health"] == "no daemon running: every target assumed well"


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.79, 0.81, 0.999])
def test_the_order_is_that_of_live_traffic_for_the_same_draw(draw: float, configured: CommandLine) -> None:
    snapshot = compile_snapshot(load(configured.folder / "router.yaml", {}))
    alias = find_alias(snapshot, "smart")
    assert alias is not None
    plan = make_plan(snapshot, ALL_WELL, (alias, "smart"), Api.CHAT, draw)
    document = configured("explain", "-m", "smart", "--draw", str(draw), "--json").document
    assert [t["target"] for t in document["targets"]] == [c.target.id for c in plan.candidates]


def test_fallbacks_are_listed_by_their_reason(configured: CommandLine) -> None:
    fallbacks = configured("explain", "-m", "smart", "--json").document["fallbacks"]
    assert [t["target"] for t in fallbacks["default"]] == ["two/small"]
    assert {t["target"] for t in fallbacks["on_rate_limited"]} == {"one/a", "two/b"}


def test_the_text_holds_what_an_operator_asks_for(configured: CommandLine) -> None:
    printed = configured("explain", "-m", "smart")
    assert printed.code == 0
    for said in (
        "asked by  its name",
        "no daemon running",
        "80.0%",
        "1.25 / 10.00",
        "default: backup (two/small)",
        "connect 250ms",
    ):
        assert said in printed.out
    assert "this alias: 60 requests/min" in printed.out


@pytest.mark.parametrize(
    ("arguments", "alias", "asked_by"),
    [
        ([], "smart", "the default"),
        (["--tier", "fast"], "backup", "the tier fast"),
        (["-m", "wild/card"], "wild/*", "the wildcard wild/*"),
        (["-m", "vectors"], "vectors", "its name"),
    ],
)
def test_an_alias_is_found_every_way_a_caller_may_ask(
    arguments: list[str], alias: str, asked_by: str, configured: CommandLine
) -> None:
    document = configured("explain", *arguments, "--json").document
    assert (document["alias"], document["asked_by"]) == (alias, asked_by)


def test_a_wildcard_sends_the_rest_of_the_name(configured: CommandLine) -> None:
    assert configured("explain", "-m", "wild/card", "--json").document["targets"][0]["upstream_model"] == "card"


def test_an_api_that_a_provider_does_not_speak_leaves_its_target_out(bare: CommandLine) -> None:
    bare.write(
        "providers: {all: {type: simulated}, some: {type: simulated, apis: [completions]}}\n"
        "model_catalog: [{alias: a, targets: [{provider: all, model: x}, {provider: some, model: y}]}]\n"
    )
    document = bare("explain", "-m", "a", "--json").document
    assert document["left_out"] == [{"target": "some/y", "reason": "some does not speak chat"}]
    assert bare("explain", "-m", "a", "--api", "completions", "--json").document["left_out"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "smrt"], 'Did you mean "smart"?'),
        (["-m", "fast"], "Ask with --tier fast."),
        (["-m", "picture"], "of type image"),
        (["-m", "smart", "--api", "embeddings"], "of type chat; this route needs embeddings"),
        (["--tier", "slow"], "known tiers: fast"),
        (["--api", "moderations"], "Name one with -m ALIAS."),
        (["-m", "smart", "--draw", "1"], "--draw"),
    ],
)
def test_a_question_without_an_answer_says_what_would_be_right(
    arguments: list[str], said: str, configured: CommandLine
) -> None:
    printed = configured("explain", *arguments)
    assert (printed.code, printed.out) == (2, "")
    assert said in printed.err


def test_a_key_brings_its_limits_and_its_rights(routerd: CommandLine) -> None:
    document = routerd("explain", "-m", "smart", "--key", "first", "--json").document
    narrow = routerd("explain", "-m", "smart", "--key", "tight")
    scoped = routerd("explain", "-m", "backup", "--key", "tight")
    assert [(rule["scope"], rule["parallel_requests"]) for rule in document["limits"]] == [("key", 3), ("model", None)]
    assert (narrow.code, "the tenant 'narrow' may not use 'smart'" in narrow.err) == (2, True)
    assert (scoped.code, "lacks the scope 'chat'" in scoped.err) == (2, True)


def test_a_revoked_or_unknown_key_is_named_as_such(routerd: CommandLine) -> None:
    routerd("keys", "revoke", "first", "--yes")
    revoked, unknown = routerd("explain", "--key", "first"), routerd("explain", "--key", "nobody")
    assert (revoked.code, "is revoked" in revoked.err) == (2, True)
    assert (unknown.code, "there is no key with the prefix 'nobody'" in unknown.err) == (2, True)


def test_an_affinity_makes_one_target_certain(routerd: CommandLine) -> None:
    firsts: set[str] = set()
    # The key's id is new in every run, and with it the order of the users: so many as it takes to see both targets.
    for number in range(64):
        user = f"user{number}"
        document = routerd("explain", "-m", "kept", "--affinity", user, "--key", "first", "--json").document
        assert [target["chance_first"] for target in document["targets"]] == [1.0, 0.0]
        assert document["notes"] == []
        firsts.add(document["targets"][0]["target"])
        if len(firsts) == 2:
            break
    assert firsts == {"one/a", "two/b"}


def test_an_affinity_that_cannot_be_known_is_noted(configured: CommandLine) -> None:
    nobody = configured("explain", "-m", "kept", "--json").document["notes"]
    anyone = configured("explain", "-m", "kept", "--affinity", "ann", "--json").document["notes"]
    useless = configured("explain", "-m", "smart", "--affinity", "ann", "--json").document["notes"]
    assert ["say whose" in nobody[0], "depends on the key too" in anyone[0], "keeps no affinity" in useless[0]] == [True] * 3


def test_health_comes_from_the_running_daemon(routerd: CommandLine, daemon: DaemonSocket) -> None:
    daemon.fingerprint = "of another file"
    daemon.health = {
        "one/large": seen("ejected", recent_failures=5, recent_requests=6, retry_in_s=12.4, ejected_s=3.0),
        "two/large": seen(consecutive_failures=2),
    }
    document = routerd("explain", "-m", "smart", "--json").document
    assert document["health"] == "the running daemon's"
    assert [(t["target"], t["chance_first"], t["state"]) for t in document["targets"]] == [("two/large", 1.0, "failing (2)")]
    assert document["left_out"][0] == {
        "target": "one/large",
        "reason": "ejected, tried again in 12s (5 of its last 6 failed)",
    }
    assert "another configuration in force" in document["notes"][0]


def test_a_daemon_with_the_same_file_is_not_remarked_upon(routerd: CommandLine, daemon: DaemonSocket) -> None:
    daemon.fingerprint = compile_snapshot(load(routerd.folder / "router.yaml", {})).fingerprint
    assert routerd("explain", "--json").document["notes"] == []


def test_a_daemon_that_answers_nonsense_is_as_good_as_none(routerd: CommandLine, daemon: DaemonSocket) -> None:
    daemon.status = 503
    printed = routerd("explain")
    assert (printed.code, "the daemon answered 503" in printed.out) == (0, True)


def test_a_rehearsal_is_shown(configured: CommandLine) -> None:
    document = configured("explain", "-m", "smart", "--json", ROUTER_FORCE_FAILOVER="one").document
    assert document["targets"][0]["state"] == "forced to fail"
    assert "on purpose" in document["notes"][0]


def test_what_is_asked_for_requests_that_are_refused_stands_apart(bare: CommandLine) -> None:
    bare.write(CONFIG.replace("on_rate_limited: [kept]}", "on_context_window: [kept], on_content_policy: [kept]}"))
    bare.prepare()
    lines = bare("explain", "-m", "smart").out.splitlines()
    at = lines.index("asked instead where the request is too long")
    assert lines[at + 1].strip() == "on_context_window: kept (one/a) > kept (two/b)"
    assert "asked instead where a content policy refuses the request" in lines
    at = lines.index("fallbacks, tried when every target above has failed")
    assert lines[at + 1].strip().startswith("default: backup") and "on_context" not in lines[at + 2]


def test_what_is_asked_instead_of_a_402_stands_apart_and_not_for_a_key_without_the_right(bare: CommandLine) -> None:
    bare.write(CONFIG.replace("on_rate_limited: [kept]}", "on_budget: [kept]}"))
    bare.prepare()
    lines = bare("explain", "-m", "smart").out.splitlines()
    at = lines.index("asked instead where a hard budget has no room")
    assert lines[at + 1].strip() == "on_budget: kept (one/a) > kept (two/b)"
    at = lines.index("fallbacks, tried when every target above has failed")
    assert lines[at + 1].strip().startswith("default: backup")
    document = bare("explain", "-m", "smart", "--json").document
    assert [row["alias"] for row in document["fallbacks"]["on_budget"]] == ["kept", "kept"]
    assert document["notes"] == []
    narrow = CONFIG.replace("on_rate_limited: [kept]}", "on_budget: [kept]}").replace("models: [backup]", "models: [smart]")
    bare.write(narrow.replace(", scopes: [embeddings]", ""))
    bare.prepare()
    assert bare("explain", "-m", "smart", "--key", "tight", "--json").document["notes"] == [
        "not instead of a 402 for this key, which may not use it: kept"
    ]


class StillClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def now_us(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.now


class Deaf:
    def emit(self, observation: Observation) -> None: ...


@pytest.mark.parametrize("strategy", [Strategy.WEIGHTED, Strategy.LEAST_BUSY, Strategy.LATENCY])
@pytest.mark.parametrize("states", list(product(["up", "ill", "due", "tried"], repeat=3)))
def test_the_view_is_rebuilt_from_the_report_as_the_daemon_has_it(strategy: Strategy, states: tuple[str, ...]) -> None:
    clock = StillClock()
    health = Health(clock, Deaf())
    targets = tuple(Target(f"p/{n}", "p", str(n)) for n in range(3))
    alias = Alias("a", Kind.CHAT, targets, strategy=strategy)
    for target, state in zip(targets, states, strict=True):
        clock.now += 1
        health.started(target.id)
        health.ended(target.id, was_trial=False)
        if state != "up":
            health.failed(target.id, "x", rest_s=60.0 if state == "ill" else 0.5)
    clock.now += 1
    for target, state in zip(targets, states, strict=True):
        if state == "tried":
            assert health.started(target.id)
    reach = tuple(t.id for t in targets)
    assert view_of(health.report(), alias, reach) == health.view(alias, reach)
