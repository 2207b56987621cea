"""What a scrape shows, and what no caller can make it show."""

import random
import string
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.config.snapshot import HealthSettings, RateDefaults, ServerSettings, Snapshot
from router.domain.ledger import Outcome
from router.domain.observations import (
    ConfigRejected,
    ConfigReloaded,
    CredentialRested,
    Failure,
    LedgerFlushed,
    LedgerStalled,
    LimiterDegraded,
    LimiterRestored,
    Notice,
    ProbeFinished,
    RequestRefused,
    RequestReplayed,
    RequestsFinished,
    TargetEjected,
    TargetRecovered,
)
from router.domain.requests import Kind
from router.domain.routes import Alias, ProviderSpec, Target
from router.domain.usage import NOTHING, NanoUSD, Usage
from router.telemetry.metrics import Metrics
from router.telemetry.request_metrics import MAX_TENANTS
from tests.gateway.fakes import FakeClock
from tests.telemetry.entries import attempt, entry

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def snapshot(*aliases: str, fingerprint: str = "f1") -> Snapshot:
    targets = (Target("openai/gpt-5-mini", "openai", "gpt-5-mini"), Target("azure/gpt5", "azure", "gpt5"))
    return Snapshot(
        fingerprint=fingerprint,
        masked_yaml="",
        server=ServerSettings(),
        providers={name: ProviderSpec(name, "openai", "http://127.0.0.1:9") for name in ("openai", "azure")},
        aliases={name: Alias(name, Kind.CHAT, targets) for name in aliases},
        wildcards=(Alias("openai/*", Kind.CHAT, (Target("openai/", "openai", ""),)),),
        tiers={},
        defaults={},
        health=HealthSettings(),
        rates=RateDefaults(),
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    made = Metrics(clock, "1.2.3")
    made.reconfigure(snapshot("gpt"))
    return made


def scrape(metrics: Metrics) -> Samples:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((name, tuple(sorted(labels.items()))))


def refusal(**changes: Any) -> RequestRefused:
    fields: dict[str, Any] = {"route": "/v1/chat/completions", "code": "rate_limited", "tenant": "demo", "alias": "gpt"}
    return RequestRefused("r", "POST", status=429, key="k", hint="", **(fields | changes))


def test_a_finished_request_shows_in_every_family_it_belongs_to(metrics: Metrics) -> None:
    failed = attempt(provider="azure", target="azure/gpt5", outcome=Outcome.TIMEOUT, usage=NOTHING, cost=NanoUSD(0))
    for _ in range(3):
        metrics.emit(RequestsFinished([entry(stream=True, attempts=(failed, attempt(attempt=2)))]))
    assert value(metrics, "routerd_requests_total", tenant="demo", alias="gpt", api="chat", status="2xx", code="") == 3
    assert value(metrics, "routerd_request_duration_seconds_count", alias="gpt", stream="true") == 3
    assert value(metrics, "routerd_request_duration_seconds_sum", alias="gpt", stream="true") == pytest.approx(3.72)
    assert value(metrics, "routerd_request_duration_seconds_bucket", alias="gpt", stream="true", le="1.0") == 0
    assert value(metrics, "routerd_request_duration_seconds_bucket", alias="gpt", stream="true", le="2.5") == 3
    assert value(metrics, "routerd_time_to_first_byte_seconds_bucket", alias="gpt", le="0.05") == 3
    azure = {"alias": "gpt", "provider": "azure", "target": "azure/gpt5", "outcome": "timeout"}
    assert value(metrics, "routerd_attempts_total", **azure) == 3
    tokens = {kind: value(metrics, "routerd_tokens_total", alias="gpt", provider="openai", kind=kind) for kind in KINDS}
    assert tokens == {"input": 300, "output": 600, "cached": 120, "reasoning": 180}
    assert value(metrics, "routerd_cost_usd_total", alias="gpt", provider="openai") == pytest.approx(0.0045)
    assert value(metrics, "routerd_tenant_cost_usd_total", tenant="demo") == pytest.approx(0.0045)


def test_searches_are_counted_where_there_are_any(metrics: Metrics) -> None:
    labels = {"alias": "gpt", "provider": "openai"}
    metrics.emit(RequestsFinished([entry()]))
    assert value(metrics, "routerd_searches_total", **labels) is None
    for searches in (2, 3):
        metrics.emit(RequestsFinished([entry(api="rerank", attempts=(attempt(usage=Usage(searches=searches)),))]))
    assert value(metrics, "routerd_searches_total", **labels) == 5


KINDS = ("input", "output", "cached", "reasoning")


def test_a_refused_request_counts_as_a_request_and_as_refused(metrics: Metrics) -> None:
    metrics.emit(refusal())
    metrics.emit(refusal(route="/openai/v1/chat/completions"))
    assert value(metrics, "routerd_refused_total", code="rate_limited") == 2
    labels = {"tenant": "demo", "alias": "gpt", "api": "chat", "status": "4xx", "code": "rate_limited"}
    assert value(metrics, "routerd_requests_total", **labels) == 2


def test_ten_thousand_random_labels_add_no_series_beyond_other(metrics: Metrics) -> None:
    chance = random.Random(3)

    def word() -> str:
        return "".join(chance.choices(string.ascii_letters + '"\\\n', k=12))

    def throw(times: int) -> None:
        for _ in range(times):
            thrown = attempt(alias=word(), provider=word(), target=word())
            changes: dict[str, Any] = {"alias": word(), "api": word(), "code": word(), "status": chance.randrange(100, 700)}
            metrics.emit(RequestsFinished([entry(attempts=(thrown,), **changes)]))
            metrics.emit(refusal(alias=word(), code=word(), route=word()))
            metrics.emit(TargetEjected(word(), word(), 1.0))
            metrics.emit(ProbeFinished(word(), ok=False, reason=word(), duration_us=1))
            metrics.emit(CredentialRested(word(), word(), 401, 1.0))

    throw(300)
    before = set(scrape(metrics))
    throw(10_000)
    assert set(scrape(metrics)) == before
    assert value(metrics, "routerd_attempts_total", alias="other", provider="other", target="other", outcome="ok") == 10_300
    assert len(metrics._requests._request_cells) == len(metrics._requests._attempt_cells) == 0


def test_tenants_beyond_the_cap_are_counted_as_other(metrics: Metrics) -> None:
    for n in range(MAX_TENANTS + 50):
        metrics.emit(RequestsFinished([entry(tenant=f"t{n}")]))
    samples = scrape(metrics)
    tenants = {dict(labels)["tenant"] for name, labels in samples if name == "routerd_requests_total"}
    assert len(tenants) == MAX_TENANTS + 1
    assert value(metrics, "routerd_requests_total", tenant="other", alias="gpt", api="chat", status="2xx", code="") == 50


def test_a_reload_changes_what_may_be_a_label_and_resets_nothing(metrics: Metrics) -> None:
    metrics.emit(RequestsFinished([entry()]))
    metrics.emit(RequestsFinished([entry(alias="claude")]))
    metrics.reconfigure(snapshot("claude", fingerprint="f2"))
    metrics.emit(RequestsFinished([entry()]))
    metrics.emit(RequestsFinished([entry(alias="claude")]))
    counts = {
        alias: value(metrics, "routerd_requests_total", tenant="demo", alias=alias, api="chat", status="2xx", code="")
        for alias in ("gpt", "claude", "other")
    }
    assert counts == {"gpt": 1, "claude": 1, "other": 2}
    assert value(metrics, "routerd_config_info", fingerprint="f2") == 1
    assert value(metrics, "routerd_config_info", fingerprint="f1") is None


def test_a_wildcard_alias_is_one_label_whatever_it_passes_on(metrics: Metrics) -> None:
    passed = attempt(alias="openai/*", target="openai/", upstream_model="gpt-4.1")
    metrics.emit(RequestsFinished([entry(alias="openai/*", requested_model="openai/gpt-4.1", attempts=(passed,))]))
    assert value(metrics, "routerd_attempts_total", alias="openai/*", provider="openai", target="openai/", outcome="ok") == 1


def test_targets_are_up_until_ejected_and_again_when_recovered(metrics: Metrics) -> None:
    target = "azure/gpt5"
    ups = [value(metrics, "routerd_target_up", target=target)]
    for observation in (TargetEjected(target, "5 failures", 30.0), TargetRecovered(target)):
        metrics.emit(observation)
        ups.append(value(metrics, "routerd_target_up", target=target))
    assert ups == [1, 0, 1]
    assert value(metrics, "routerd_target_ejections_total", target=target) == 1


def test_a_target_that_left_the_configuration_is_not_down_when_it_comes_back(metrics: Metrics) -> None:
    metrics.emit(TargetEjected("azure/gpt5", "5 failures", 30.0))
    metrics.reconfigure(snapshot())
    metrics.reconfigure(snapshot("gpt"))
    assert value(metrics, "routerd_target_up", target="azure/gpt5") == 1


def test_a_rejected_reload_shows_until_a_good_one(metrics: Metrics, clock: FakeClock) -> None:
    started = value(metrics, "routerd_config_last_reload_timestamp_seconds")
    clock.pass_(100)
    metrics.emit(ConfigRejected(("bad",)))
    assert value(metrics, "routerd_config_reload_success") == 0
    assert value(metrics, "routerd_config_last_reload_timestamp_seconds") == started
    metrics.emit(ConfigReloaded("f1", changed=False))
    assert value(metrics, "routerd_config_reload_success") == 1
    assert value(metrics, "routerd_config_last_reload_timestamp_seconds") == pytest.approx((started or 0) + 100)


def test_the_ledger_the_loop_and_our_own_errors_are_visible(metrics: Metrics) -> None:
    metrics.emit(LedgerStalled(7, "disk full"))
    assert value(metrics, "routerd_ledger_waiting") == 7
    metrics.emit(LedgerFlushed(7, 0, 30_000))
    metrics.observe_loop_lag(0.02)
    metrics.emit(Failure("", "probe", "Traceback"))
    metrics.emit(Notice("info", "started", ""))
    metrics.emit(RequestReplayed("r2", "/v1/chat/completions", 200, "acme", "first", "r1"))
    assert value(metrics, "routerd_ledger_waiting") == 0
    assert value(metrics, "routerd_ledger_failures_total") == 1
    assert value(metrics, "routerd_ledger_flush_seconds_bucket", le="0.05") == 1
    assert value(metrics, "routerd_event_loop_lag_seconds_sum") == pytest.approx(0.02)
    assert value(metrics, "routerd_internal_failures_total") == 1
    assert value(metrics, "routerd_idempotent_replays_total") == 1


def test_limits_without_redis_are_visible_while_they_last_and_counted_after(metrics: Metrics) -> None:
    assert value(metrics, "routerd_limiter_degraded") == 0
    for _ in range(2):
        metrics.emit(LimiterDegraded("no answer in time"))
        assert value(metrics, "routerd_limiter_degraded") == 1
        metrics.emit(LimiterRestored())
    assert value(metrics, "routerd_limiter_degraded") == 0
    assert value(metrics, "routerd_limiter_degradations_total") == 2


def test_watched_values_are_asked_for_at_each_scrape(metrics: Metrics) -> None:
    in_flight = [0, 5]
    metrics.watch("routerd_inflight_requests", "Requests in flight.", in_flight.pop)
    metrics.watch("routerd_log_lines_dropped_total", "Dropped.", lambda: 3)
    assert value(metrics, "routerd_inflight_requests") == 5
    assert value(metrics, "routerd_inflight_requests") == 0
    assert value(metrics, "routerd_inflight_requests") is None, "a reading that raises is left out, the rest is shown"
    assert "# TYPE routerd_log_lines_dropped_total counter" in metrics.render().decode()


def test_the_build_and_the_process_are_described(metrics: Metrics) -> None:
    text = metrics.render().decode()
    assert 'version="1.2.3"' in text
    assert "process_resident_memory_bytes" in text
    assert "python_info" in text
