"""Counts tokens with OpenAI's own tokenizers, off the event loop: tiktoken (extra `tokens`) on rank files shipped here.

Nothing is read before the first count: the ranks of one tokenizer take half a second and 50 to 90 MB.
"""

import asyncio
import importlib
import lzma
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec

from router.domain.observations import Notice
from router.domain.ports import Observer

MOST_CHARS = 900_000
"""Of all texts together. tiktoken's splitter gives up at a million characters of white space."""


_Reader = Callable[[str], tuple[str, dict[bytes, int]]]


class _Tokenizer(msgspec.Struct, frozen=True):
    """One row of `tokenizers.json`; `sha256` is of the unpacked rank file."""

    pattern: str
    sha256: str


class _Table(msgspec.Struct, frozen=True):
    tokenizers: dict[str, _Tokenizer]


class Tokenizers:
    """Implements domain.ports.TokenCounter. One count at a time; who asks meanwhile waits for it."""

    def __init__(self, observer: Observer, *, library: Callable[[], Any] | None = None, read: _Reader | None = None) -> None:
        self._observer = observer
        self._library = library or _tiktoken
        self._read = read or read_ranks
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")
        self._encodings: dict[str, Any] = {}
        self._is_broken = False
        self._has_said = False

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        """See TokenCounter. None without the extra, and for more than MOST_CHARS characters."""
        if self._is_broken or sum(map(len, texts)) > MOST_CHARS:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._count, tokenizer, texts)

    def _count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        encoding = self._encodings.get(tokenizer) or self._load(tokenizer)
        if encoding is None:
            return None
        try:
            return sum(len(encoding.encode_ordinary(text)) for text in texts)
        except BaseException as error:  # noqa: BLE001  a panic of Rust is no Exception, and means: no count of this one
            self._say(f"tiktoken failed at a request: {type(error).__name__}")
            return None

    def _load(self, tokenizer: str) -> Any:
        if self._is_broken:
            return None
        try:
            tiktoken = self._library()
        except ImportError:
            return self._give_up("tiktoken is not installed (the extra routerd[tokens])")
        try:
            pattern, ranks = self._read(tokenizer)
            encoding = tiktoken.Encoding(tokenizer, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        except (OSError, ValueError, lzma.LZMAError, msgspec.MsgspecError) as error:
            return self._give_up(f"the ranks of {tokenizer} cannot be read: {error}")
        self._encodings[tokenizer] = encoding
        return encoding

    def _give_up(self, reason: str) -> None:
        self._is_broken = True
        self._say(reason)

    def _say(self, reason: str) -> None:
        """Once: from now on the bytes of such requests decide."""
        if not self._has_said:
            self._has_said = True
            text = f"near the end of a budget or a context window bytes are counted, not tokens: {reason}"
            self._observer.emit(Notice("warning", "tokens", text))


def _tiktoken() -> Any:
    return importlib.import_module("tiktoken")


def read_ranks(tokenizer: str) -> tuple[str, dict[bytes, int]]:
    """The pattern that cuts a text into pieces, and the tokens. Raises OSError, LZMAError or ValueError."""
    data = files("router.data")
    row = msgspec.json.decode(data.joinpath("tokenizers.json").read_bytes(), type=_Table).tokenizers[tokenizer]
    content = lzma.decompress(data.joinpath(f"{tokenizer}.tiktoken.xz").read_bytes())
    if sha256(content).hexdigest() != row.sha256:
        raise ValueError("it is not the file that was published")
    lines = (line.split() for line in content.splitlines())
    return row.pattern, {b64decode(token): int(rank) for token, rank in lines}
