"""`--dialects`: what a request of Chat Completions costs at targets that speak something else."""

from bench.routerd import Catalog, Urls, routerd
from bench.scenarios import BURST, LONG_BURST, json_scenario
from bench.variants import Variant

COLUMNS = ("1 KB JSON", "20 events", "500 events")
_SPOKEN = {"Chat Completions (bytes pass)": "chat", "Messages": "messages", "Responses": "responses"}


def variants(urls: Urls) -> list[Variant]:
    scenarios = (json_scenario(16), BURST, LONG_BURST)
    return [
        Variant(
            "callers of Chat Completions, targets of", name, routerd(urls=urls, catalog=Catalog(spoken=spoken)), scenarios
        )
        for name, spoken in _SPOKEN.items()
    ]
