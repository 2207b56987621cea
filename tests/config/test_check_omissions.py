"""`drop_unsupported`: names that can be refused and done without, and located mistakes for all others."""

from pathlib import Path

import pytest

from router.config.compile import compile_snapshot
from tests.config.samples import MINIMAL, loaded, only, problems

TEXT = "providers: {{p: {{type: cohere, api_key: k, drop_unsupported: [{names}]}}}}\n"


@pytest.mark.parametrize(
    ("name", "found", "expected", "hint"),
    [
        ("seed", '"seed"', "one of audio", "seed is never refused."),
        ("user", '"user"', "or a caller's own field", "user is never refused."),
        ("messages", '"messages"', "tools.KIND", "A request without messages would be another one."),
        ("response_format", '"response_format"', "tools.KIND", "A request without response_format would be another one."),
        ("temprature", '"temprature"', "temperature", 'Did you mean "temperature"?'),
        ("stop_sequences", '"stop_sequences"', "the name stop", ""),
        ("tools.web_search_20250305", '"tools.web_search_20250305"', "tools.web_search, which is every version", ""),
        ("tools.", '"tools."', "tools.KIND", ""),
        ("n, n", '"n"', "each name once", ""),
    ],
)
def test_a_name_that_means_nothing_is_an_error_in_its_place(
    tmp_path: Path, name: str, found: str, expected: str, hint: str
) -> None:
    problem = only(problems(tmp_path, TEXT.format(names=name)))
    assert (problem.key, problem.line, problem.found, problem.hint) == ("providers.p.drop_unsupported", 1, found, hint)
    assert problem.column > TEXT.index("drop_unsupported") - 10 and expected in problem.expected


def test_names_reach_the_provider_fields_of_callers_own_too(tmp_path: Path) -> None:
    names = "tools.web_search, stop, n, reasoning_format, web_search_options, thinking.clear_thinking, openrouter"
    text = TEXT.format(names=names) + "model_catalog: [{alias: a, targets: [{provider: p, model: m}]}]\n"
    assert compile_snapshot(loaded(tmp_path, text)).providers["p"].omitted == frozenset(names.split(", "))


def test_without_a_word_nothing_is_left_out(tmp_path: Path) -> None:
    assert compile_snapshot(loaded(tmp_path, MINIMAL)).providers["demo"].omitted == frozenset()
