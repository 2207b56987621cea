"""Believable text without a model: seeded draws, sentences about what was asked, and the tokens they are made of."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_TOKEN = re.compile(r" ?[A-Za-z_]{1,16}| ?\d{1,3}| ?[^\sA-Za-z_\d]|\s+")
_WORD = re.compile(r"[^\W\d_][\w'-]{2,24}")
_SCANNED = 4_000  # characters of a prompt that are looked at for words

_STOPWORD_LIST = """
    about after again also and any are because been before being but can could did does doing down each few for from
    further had has have having here how into its just know let like make may might more most much must need not now off
    once only other our out over own please same say she should some such tell than that the their them then there these
    they this those through too under until use very was way were what when where which while who why will with would
    write you your give show explain describe return answer question"""
_STOPWORDS = frozenset(_STOPWORD_LIST.split())
# The words stand where they are objects, so that a plural fits as well.
_OPENINGS = (
    "Here is a short answer about {a}.",
    "The short version: begin with {a}, then turn to {b}.",
    "Let me take {a} and {b} one after the other.",
    "That is a good question about {a}.",
    "In a few words, it all comes down to {a} and {b}.",
    "Thanks for the details on {a}; this is how I read them.",
)
_SENTENCES = (
    "The key point is not to think of {a} without {b}.",
    "In practice, most people begin with {a} and add {b} later.",
    "A simple example makes this clearer: think of {a} as a small part of {b}.",
    "It helps to write down what you know about {a} before changing anything else.",
    "There are two common mistakes: ignoring {a}, and expecting too much of {b}.",
    "If you cannot rely on {a}, look at {b} first.",
    "The effort spent on {a} is small compared with what you gain for {b}.",
    "You can check this by watching {a} over a few days.",
    "It is worth looking at both {a} and {b}, but not at the same time.",
    "As a rule of thumb, keep everything around {a} as simple as you can.",
    "Nothing here is special to {a}; the same holds for {b}.",
    "The details differ from case to case, so treat {a} with some care.",
    "When in doubt, ask what would change for {a} without {b}.",
    "Over time this becomes easier, because you already know about {b}.",
    "This is also why people often mention {a} together with {b}.",
    "A good next step is to compare {a} with what you already have.",
)
_FALLBACK_WORDS = ("the request", "the result", "the context", "the first step", "the plan", "the details")


class Draws:
    """A stream of numbers fixed by its key: the same key gives the same numbers on every machine."""

    __slots__ = ("_counter", "_key", "_pool")

    def __init__(self, *key: object) -> None:
        self._key = "\0".join(str(part) for part in key).encode("utf-8", "surrogatepass")
        self._counter = 0
        self._pool = 0

    def bits(self) -> int:
        """32 bits."""
        if self._pool <= 1:
            digest = blake2b(self._key, digest_size=64, salt=self._counter.to_bytes(16, "little")).digest()
            self._counter += 1
            # The marker bit on top tells when the pool is used up.
            self._pool = int.from_bytes(digest, "little") | 1 << 512
        value = self._pool & 0xFFFFFFFF
        self._pool >>= 32
        return value

    def unit(self) -> float:
        """A number in [0, 1)."""
        return self.bits() / 2**32

    def below(self, bound: int) -> int:
        return ((self.bits() << 32) | self.bits()) % bound if bound > 2**20 else self.bits() % bound

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def hex(self, digits: int) -> str:
        return "".join(f"{self.bits():08x}" for _ in range(-(-digits // 8)))[:digits]


def tokenize(text: str) -> tuple[str, ...]:
    """The text cut into tokens: a word, up to three digits or one sign, each with the space before it. Joined: the text."""
    return tuple(_TOKEN.findall(text))


def estimate_tokens(text: str) -> int:
    """Prompt tokens of a text: its UTF-8 bytes / 4, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def keywords(text: str) -> tuple[str, ...]:
    """Up to twelve words of the text that say what it is about, in their order."""
    found: dict[str, str] = {}
    for word in _WORD.findall(text[:_SCANNED]):
        plain = word.lower()
        if plain not in _STOPWORDS:
            found.setdefault(plain, word)
        if len(found) == 12:
            break
    return tuple(found.values())


def write(draws: Draws, words: Sequence[str], opening: str, target: int, *, exact: bool) -> tuple[str, ...]:
    """Tokens of sentences about `words`, at least `target` of them and then to the sentence's end; `exact`: no more."""
    subjects = words or _FALLBACK_WORDS
    tokens = list(tokenize(opening or _sentence(draws, _OPENINGS, subjects)))
    while len(tokens) < target:
        tokens += tokenize(" " + _sentence(draws, _SENTENCES, subjects))
    return tuple(tokens[:target] if exact else tokens)


def _sentence(draws: Draws, bank: Sequence[str], subjects: Sequence[str]) -> str:
    first = draws.below(len(subjects))
    second = (first + 1 + draws.below(max(len(subjects) - 1, 1))) % len(subjects)
    text = draws.pick(bank).format(a=subjects[first], b=subjects[second])
    return text[0].upper() + text[1:]
