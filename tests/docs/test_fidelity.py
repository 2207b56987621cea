"""docs/fidelity.md lists what is dropped: all of it, with the reasons the code gives, and nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from router.domain.omissions import OMISSIBLE
from router.providers.cohere import query_out as cohere
from router.providers.gemini import query_out as gemini
from router.providers.ollama import query_out as ollama
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.openai_chat_codec.query_out import DROPPED
from router.providers.openai_responses_codec import query_in as responses_in
from router.providers.openai_responses_codec import query_out as responses_out
from router.providers.parted import embeddings, rerank
from router.providers.repairs import free_text

PAGES = Path(__file__).parents[2] / "docs" / "providers"
PAGE = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()


def listed(heading: str) -> dict[str, str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE))


def test_what_chat_targets_are_not_told_is_listed() -> None:
    assert listed("To targets of Chat Completions") == DROPPED


def test_what_of_a_chat_callers_request_may_be_dropped_is_listed() -> None:
    assert listed("From callers of Chat Completions") == HINTS


def test_what_of_responses_is_not_told_is_listed() -> None:
    assert listed("To targets of Responses") == responses_out.DROPPED
    assert listed("From callers of Responses") == responses_in.HINTS


@pytest.mark.parametrize(
    ("provider", "dropped"), [("cohere", cohere.DROPPED), ("ollama", ollama.DROPPED), ("gemini", gemini.DROPPED)]
)
def test_what_a_provider_of_its_own_dialect_is_not_told_is_on_its_page(provider: str, dropped: Mapping[str, str]) -> None:
    text = (PAGES / f"{provider}.md").read_text()
    assert dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", text.partition("| dropped | since |")[2], re.MULTILINE)) == dropped


def test_the_pages_of_the_providers_are_linked_from_the_first() -> None:
    linked = (PAGES / "openai.md").read_text()
    assert not {path.name for path in PAGES.glob("*.md") if f"]({path.name})" not in linked and path.stem != "openai"}


def test_what_a_free_text_tool_loses_is_listed() -> None:
    assert listed("Free-text tools") == free_text.DROPPED


def test_every_name_that_may_be_dropped_is_listed() -> None:
    section = PAGE.partition("## Left out instead of refused\n")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.+`) \|", section, re.MULTILINE) for name in re.findall("`([^`]+)`", row)}
    assert named - {"tools.KIND"} == OMISSIBLE


def test_what_targets_of_embeddings_and_rerank_are_not_told_is_listed() -> None:
    assert listed("Embeddings") == embeddings.DROPPED
    assert listed("Rerank") == rerank.DROPPED
