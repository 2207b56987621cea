"""One daemon whose providers are all the same mock process, which nobody here wrote."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.mock.callers import CALLERS, Caller
from tests.clients.mock.process import CLAUDE, MockProviders, targets
from tests.clients.mock.programs import Missing, installed, node
from tests.daemon import Daemon, Workplace, settings


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
    for first, second in (("openai", "anthropic"), ("anthropic", "gemini"), ("gemini", "bedrock"), ("bedrock", "openai")):
        ways = [{"provider": first, "model": "first-choice"}, {"provider": second, "model": CLAUDE, "priority": 1}]
        catalog[f"{first}-then-{second}"] = ways
    providers = {name: target.provider for name, target in every.items()}
    with Daemon(workplace, settings(providers, catalog)) as running:
        yield running


@pytest.fixture
def speak(routerd: Daemon) -> Iterator[Any]:
    """`speak("chat", "gemini")`: a new conversation over that SDK with that alias."""
    made: list[Caller] = []

    def one(caller: str, alias: str) -> Caller:
        made.append(CALLERS[caller](routerd.url, alias))
        return made[-1]

    yield one
    for caller in made:
        caller.close()
