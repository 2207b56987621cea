"""`--ablation`: what each feature costs, by leaving it out of the configuration, one at a time and all together."""

from dataclasses import replace

from bench.routerd import Features, Urls, routerd
from bench.scenarios import BURST, json_scenario
from bench.variants import Variant

COLUMNS = ("1 KB JSON", "20 events")
NOTE = (
    "Keys, routing, passive health, metering, the ledger and the journal are always on: no configuration leaves them out.\n"
    "The log lines are still made where the log goes to the null device; only their writing is saved."
)
_SERIES = "everything on, then less (16 connections)"
_ALL = Features()
FEATURES = {
    "everything on": _ALL,
    "without limits of key and tenant": replace(_ALL, limits=False),
    "without the limit of addresses": replace(_ALL, address_limit=False),
    "without budgets": replace(_ALL, budgets=False),
    "without metrics": replace(_ALL, metrics=False),
    "log to the null device": replace(_ALL, log=False),
    "without all of these": Features(limits=False, address_limit=False, budgets=False, metrics=False, log=False),
    "journal to the disk (power)": replace(_ALL, durability="power"),
}


def variants(urls: Urls) -> list[Variant]:
    scenarios = (json_scenario(16), BURST)
    return [Variant(_SERIES, name, routerd(urls=urls, features=features), scenarios) for name, features in FEATURES.items()]
