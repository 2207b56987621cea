"""The catalog against the providers and itself: every class of mistake, with its place and the right word."""

from pathlib import Path

import pytest

from router.config.check_catalog import find_cycle
from tests.config.samples import catalog, only, problems


@pytest.mark.parametrize(
    ("aliases", "key", "found", "expected"),
    [
        (["{alias: a, targets: []}"], "model_catalog[0].targets", "an empty list", "at least 1 entry"),
        (["{alias: a}"], "model_catalog[0].targets", "nothing", "the key targets"),
        (["{targets: [{provider: demo}]}"], "model_catalog[0].alias", "nothing", "the key alias"),
        (
            ["{alias: a, targets: [{provider: demo}]}", "{alias: a, targets: [{provider: demo}]}"],
            "model_catalog[1].alias",
            '"a" a second',
            "first is at router.yaml:3:13",
        ),
        (
            ["{alias: a, targets: [{provider: demo, weight: 0}, {provider: other, weight: 0}]}"],
            "model_catalog[0].targets",
            "all 0",
            "above 0",
        ),
        (
            ["{alias: a, targets: [{provider: demo}, {provider: demo}]}"],
            "model_catalog[0].targets[1]",
            "second time",
            "one target",
        ),
        (['{alias: "a\\nb", targets: [{provider: demo}]}'], "model_catalog[0].alias", "a", "without control characters"),
        (["{alias: 'a*b', targets: [{provider: demo}]}"], "model_catalog[0].alias", '"a*b"', "last character"),
        (
            ["{alias: a, strategy: random, targets: [{provider: demo}]}"],
            "model_catalog[0].strategy",
            '"random"',
            "one of cost",
        ),
        (
            ["{alias: a, targets: [{provider: demo}], price: {input: 1}}"],
            "model_catalog[0].price",
            "nothing",
            "the key output",
        ),
        (
            ["{alias: a, targets: [{provider: demo}], fallbacks: {on_rate_limit: []}}"],
            "model_catalog[0].fallbacks.on_rate_limit",
            "unknown key",
            "on_rate_limited",
        ),
        (["{alias: a, targets: [{provider: demo}], fallbacks: [a]}"], "fallbacks of a", "a circle: a -> a", "an end"),
        (
            [
                "{alias: a, targets: [{provider: demo}], fallbacks: {on_budget: [e]}}",
                "{alias: e, type: embeddings, targets: [{provider: demo}]}",
            ],
            "fallbacks of a",
            '"e" of type embeddings',
            "type chat",
        ),
    ],
)
def test_a_mistake_is_one_located_error(tmp_path: Path, aliases: list[str], key: str, found: str, expected: str) -> None:
    problem = only(problems(tmp_path, catalog(*aliases)))
    assert problem.key == key
    assert found in problem.found, problem.render()
    assert expected in problem.expected, problem.render()
    assert problem.line > 0
    assert "canary" not in problem.render()


def test_tiers_and_defaults_may_name_what_a_wildcard_reaches(tmp_path: Path) -> None:
    text = catalog("{alias: 'openai/*', targets: [{provider: demo}]}") + "defaults: {chat: openai/gpt-5}\n"
    assert problems(tmp_path, text) == ()


def test_a_long_circle_of_fallbacks_is_printed(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    aliases = [
        f"{{alias: {n}, targets: [{{provider: demo}}], fallbacks: [{m}]}}"
        for n, m in zip(names, ["b", "c", "d", "b"], strict=True)
    ]
    assert only(problems(tmp_path, catalog(*aliases))).found == "a circle: b -> c -> d -> b"


def test_a_diamond_of_fallbacks_is_no_circle() -> None:
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []


def test_a_chain_longer_than_the_stack_is_walked() -> None:
    chain = {str(n): [str(n + 1)] for n in range(20_000)}
    assert find_cycle(chain) == []
    assert len(find_cycle(chain | {"20000": ["0"]})) == 20_002
