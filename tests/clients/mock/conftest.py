"""One daemon whose providers are all the same mock process, which nobody here wrote."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.mock.callers import CALLERS, Caller
from tests.clients.mock.process import VECTORS, MockProviders, targets
from tests.clients.mock.programs import Missing, installed, node
from tests.daemon import Daemon, Workplace, settings

FAILOVERS = (
    ("openai", "anthropic"),
    ("anthropic", "gemini"),
    ("gemini", "bedrock"),
    ("bedrock", "cohere"),
    ("cohere", "openai"),
)
FAULTS = {"429": "Too often.", "500": "Fall over."}


def failover(ways: tuple[str, str], fault: str, caller: str, streamed: bool) -> str:
    """An alias of one test's own, with models of its own: one that failed is not asked again at once."""
    return f"{'-'.join(ways)}-{fault}-{caller}-{'streamed' if streamed else 'whole'}"


@pytest.fixture(scope="package")
def workplace() -> Iterator[Workplace]:
    try:
        node(), installed()
    except Missing as reason:
        pytest.skip(str(reason))
    folder = Workplace()
    yield folder
    folder.remove()


@pytest.fixture(scope="package")
def mock(workplace: Workplace) -> Iterator[MockProviders]:
    with MockProviders(workplace) as running:
        yield running


@pytest.fixture(scope="package")
def routerd(workplace: Workplace, mock: MockProviders) -> Iterator[Daemon]:
    every = targets(mock.origin)
    deployments = {"azure": {"deployment": "mini"}, "azure-v1": {"deployment": "mini"}}
    catalog: dict[str, Any] = {
        name: [{"provider": name, "model": target.model} | deployments.get(name, {})] for name, target in every.items()
    }
    for name, model in VECTORS.items():
        target = {"provider": name, "model": model} | deployments.get(name, {})
        catalog[f"{name}-vectors"] = {"type": "embeddings", "targets": [target]}
    cases = itertools.product(FAILOVERS, FAULTS, CALLERS, (False, True))
    for number, (ways, fault, caller, streamed) in enumerate(cases):
        first = {"provider": ways[0], "model": f"first-choice-{number}", "priority": 0}
        second = {"provider": ways[1], "model": f"second-choice-{number}", "priority": 1}
        catalog[failover(ways, fault, caller, streamed)] = [first, second]
    providers = {name: target.provider for name, target in every.items()}
    with Daemon(workplace, settings(providers, catalog)) as running:
        yield running


@pytest.fixture(scope="package")
def sdks(routerd: Daemon) -> Iterator[dict[str, Any]]:
    made = {name: caller.connected(routerd.url) for name, caller in CALLERS.items()}
    yield made
    for sdk in made.values():
        sdk.close()


@pytest.fixture
def speak(sdks: dict[str, Any]) -> Callable[[str, str], Caller]:
    """`speak("chat", "gemini")`: a new conversation over that SDK with that alias."""
    return lambda caller, alias: CALLERS[caller](sdks[caller], alias)
