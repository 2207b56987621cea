"""Tokens are counted as OpenAI counts them, without the network, or not at all."""

import asyncio
import hashlib
import json
import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from router.domain.observations import Notice, Observation
from router.providers.tokens import MOST_CHARS, Tokenizers, read_ranks

NAMES = ("o200k_base", "cl100k_base")
DATA = files("router.data")
# What the URL of a rank file is called in tiktoken's cache: its SHA-1.
CACHE_NAMES = {
    name: hashlib.sha1(f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken".encode()).hexdigest()
    for name in NAMES
}


class Said:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def emit(self, observation: Observation) -> None:
        assert isinstance(observation, Notice)
        self.notices.append(observation)


@pytest.fixture(scope="module")
def ours() -> Tokenizers:
    return Tokenizers(Said())


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """tiktoken's own encodings, given our rank files where it would keep what it has downloaded: it checks their hashes."""
    cache: Path = tmp_path_factory.mktemp("tiktoken")
    for name in NAMES:
        packed = DATA.joinpath(f"{name}.tiktoken.xz").read_bytes()
        (cache / CACHE_NAMES[name]).write_bytes(lzma.decompress(packed))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return {name: tiktoken.Encoding(**getattr(openai_public, name)()) for name in NAMES}


TEXTS = (
    *("", " ", "hello", "Größe, naïve, Ελλάδα, 東京タワー, مرحبا, 🤷🏽‍♀️", "<|endoftext|> <|im_start|>system", "\r\n\t\n  x"),
    *("def f(x: int) -> str:\n    return f'{x!r}'\n" * 20, "0123456789" * 50, "a" * 20_000, " " * 20_000, "\0\u200d\u0301"),
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_count_is_tiktoken_s(name: str, ours: Tokenizers, theirs: dict[str, Any]) -> None:
    for text in TEXTS:
        assert await ours.count(name, [text]) == len(theirs[name].encode_ordinary(text)), text[:40]
    assert await ours.count(name, TEXTS) == sum(len(theirs[name].encode_ordinary(text)) for text in TEXTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_never_more_tokens_than_bytes(name: str, theirs: dict[str, Any]) -> None:
    @given(st.text(max_size=200))
    @settings(max_examples=300, deadline=None)
    def holds(text: str) -> None:
        assert len(theirs[name].encode_ordinary(text)) <= len(text.encode())

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_the_rank_files_are_the_published_ones(name: str) -> None:
    row = json.loads(DATA.joinpath("tokenizers.json").read_bytes())["tokenizers"][name]
    packed = DATA.joinpath(f"{name}.tiktoken.xz").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == row["packed_sha256"]
    assert hashlib.sha256(lzma.decompress(packed)).hexdigest() == row["sha256"]
    pattern, ranks = read_ranks(name)
    assert pattern == row["pattern"]
    assert {bytes([byte]) for byte in range(256)} <= ranks.keys(), "a byte-level tokenizer knows every byte"


async def test_nothing_is_loaded_before_the_first_count() -> None:
    loads: list[str] = []

    def read(name: str) -> tuple[str, dict[bytes, int]]:
        loads.append(name)
        return read_ranks(name)

    counter = Tokenizers(Said(), read=read)
    assert loads == []
    assert await asyncio.gather(*(counter.count("cl100k_base", ["one two"]) for _ in range(3))) == [2, 2, 2]
    assert loads == ["cl100k_base"]


def _not_installed() -> Any:
    raise ImportError("no module named tiktoken")


def _damaged(_name: str) -> tuple[str, dict[bytes, int]]:
    raise lzma.LZMAError("corrupt")


async def test_without_the_extra_nothing_is_counted_and_that_is_said_once() -> None:
    said = Said()
    counter = Tokenizers(said, library=_not_installed)
    assert [await counter.count("o200k_base", ["x"]) for _ in range(3)] == [None, None, None]
    assert [(notice.event, "routerd[tokens]" in notice.message) for notice in said.notices] == [("tokens", True)]


async def test_a_damaged_rank_file_is_not_used_and_that_is_said_once() -> None:
    said = Said()
    counter = Tokenizers(said, read=_damaged)
    assert [await counter.count("o200k_base", ["x"]) for _ in range(2)] == [None, None]
    assert [notice.level for notice in said.notices] == ["warning"]


async def test_what_tiktoken_cannot_split_is_not_counted_and_the_next_text_is() -> None:
    class Brittle:
        def encode_ordinary(self, text: str) -> list[int]:
            if text == "bad":
                raise BaseException("panic")  # noqa: TRY002  as pyo3 raises it
            return [1]

    class Library:
        @staticmethod
        def Encoding(*_: Any, **__: Any) -> Brittle:  # noqa: N802  tiktoken's name
            return Brittle()

    said = Said()
    counter = Tokenizers(said, library=lambda: Library, read=lambda _: ("", {}))
    assert [await counter.count("o200k_base", [text]) for text in ("bad", "good", "bad")] == [None, 1, None]
    assert len(said.notices) == 1


async def test_more_than_the_splitter_can_take_is_not_counted(ours: Tokenizers) -> None:
    assert await ours.count("o200k_base", [" " * MOST_CHARS]) is not None
    assert await ours.count("o200k_base", [" " * MOST_CHARS, " "]) is None


async def test_the_loop_goes_on_while_a_long_text_is_counted(ours: Tokenizers) -> None:
    counting = asyncio.ensure_future(ours.count("o200k_base", ["a" * MOST_CHARS]))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert counting.result()
    assert turns > 5
