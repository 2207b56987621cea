"""Embeddings and moderations: vectors in which shared words show, and scores from words that give offence."""

import re
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import shake_256
from math import sqrt
from sys import byteorder
from typing import Any

from router.providers.simulated.exchange import Exchange, faulty_count, json_exchange, noted
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.providers.simulated.reply import Count
from router.providers.simulated.request import BadRequest, model_of, texts_of
from router.providers.simulated.text import Draws, estimate_tokens

_DIMENSIONS = 1536
_MOST_DIMENSIONS = 8192
_MOST_INPUTS = 2048
_HITS = 24  # positions of the vector that one word moves
_MOST_WORDS = 256
_WORD = re.compile(r"\w+")
_FLAGGED = 0.5
_IMAGE_CATEGORIES = frozenset(
    {"self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic"}
)
_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "harassment": ("idiot", "stupid", "loser", "worthless", "shut up", "pathetic"),
    "harassment/threatening": ("i will hurt you", "i will find you", "you will pay", "i will kill you"),
    "hate": ("hate all", "inferior race", "vermin", "subhuman"),
    "hate/threatening": ("exterminate", "wipe them out", "kill them all"),
    "illicit": ("steal", "shoplift", "counterfeit", "launder money", "make a bomb", "hack into"),
    "illicit/violent": ("make a bomb", "build a weapon", "poison someone"),
    "self-harm": ("kill myself", "suicide", "hurt myself", "cut myself", "end my life"),
    "self-harm/intent": ("kill myself", "want to die", "end my life"),
    "self-harm/instructions": ("how to kill myself", "ways to commit suicide"),
    "sexual": ("porn", "explicit sex", "nude", "erotic"),
    "sexual/minors": ("underage sex", "child porn"),
    "violence": ("kill", "murder", "stab", "shoot", "attack", "bomb"),
    "violence/graphic": ("dismember", "decapitate", "blood everywhere", "gore"),
}
_PATTERNS = {
    name: re.compile(r"\b(?:" + "|".join(map(re.escape, terms)) + r")\w*", re.IGNORECASE)
    for name, terms in _CATEGORIES.items()
}


def answer_embeddings(body: Mapping[str, Any], options: SimulateOptions, fault: FaultKind | None, _created: int) -> Exchange:
    """Raises BadRequest."""
    model = model_of(body)
    if "input" not in body:
        raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    texts = texts_of(body["input"], "input")
    if len(texts) > _MOST_INPUTS:
        raise BadRequest(f"Invalid 'input': at most {_MOST_INPUTS} inputs, got {len(texts)}.", "input", "invalid_value")
    size = body.get("dimensions")
    if size is None:
        size = _DIMENSIONS
    if not isinstance(size, int) or not 1 <= size <= _MOST_DIMENSIONS:
        raise BadRequest(f"Invalid 'dimensions': expected 1 to {_MOST_DIMENSIONS}.", "dimensions", "invalid_value")
    vectors = [embed(text, size, f"{model}\0{options.seed}") for text in texts]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(max(estimate_tokens(text), 1) for text in texts)
    answer = {"object": "list", "data": data, "model": model} | _embedding_usage(tokens, fault)
    return replace(json_exchange(answer), usage=noted(Count(tokens, 0, 0)))


def embed(text: str, size: int, space: str) -> list[float]:
    """A unit vector of `size` rounded floats. Texts that share words lie closer together."""
    # A little of the whole text in every place, so that no component is zero and word order tells.
    noise = array("h")
    noise.frombytes(shake_256(f"{space}\0{text}".encode("utf-8", "surrogatepass")).digest(2 * size))
    vector = [value / 655_360 for value in noise]
    for word in _WORD.findall(text.lower())[:_MOST_WORDS]:
        for place, sign in _word_places(word, size, space):
            vector[place] += sign
    norm = sqrt(sum(value * value for value in vector)) or 1.0
    return [round(value / norm, 8) for value in vector]


@lru_cache(maxsize=4096)
def _word_places(word: str, size: int, space: str) -> tuple[tuple[int, float], ...]:
    draws = Draws("word", space, word)
    return tuple((draws.below(size), 1.0 if draws.below(2) else -1.0) for _ in range(_HITS))


def _packed(vector: Sequence[float]) -> str:
    floats = array("f", vector)
    if byteorder == "big":
        floats.byteswap()
    return b64encode(floats.tobytes()).decode()


def _embedding_usage(tokens: int, fault: FaultKind | None) -> dict[str, Any]:
    if fault is FaultKind.USAGE_ABSENT:
        return {}
    said = faulty_count(Count(tokens, 0, 0), fault)
    if said is None:
        return {"usage": None}
    shown = said.input
    return {"usage": {"prompt_tokens": shown, "total_tokens": shown}}


def answer_moderations(
    body: Mapping[str, Any], options: SimulateOptions, _fault: FaultKind | None, _created: int
) -> Exchange:
    """Raises BadRequest."""
    given = body.get("input")
    if given is None:
        raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    model = body.get("model") or "omni-moderation-latest"
    parts = [part for part in given if isinstance(part, dict)] if isinstance(given, list) else []
    if parts:
        text = "\n".join(str(part.get("text", "")) for part in parts)
        results = [_judge(text, has_image=any(part.get("type") == "image_url" for part in parts))]
    else:
        results = [_judge(text, has_image=False) for text in texts_of(given, "input")]
    name = "modr-" + Draws("modr", options.seed, str(given)).hex(32)
    return json_exchange({"id": name, "model": str(model), "results": results})


def _judge(text: str, *, has_image: bool) -> dict[str, Any]:
    draws = Draws("moderation", text)
    scores: dict[str, float] = {}
    for name, pattern in _PATTERNS.items():
        hits = len(pattern.findall(text))
        quiet = 10 ** (-6 + 3 * draws.unit())
        scores[name] = min(0.99, 0.7 + 0.1 * hits + quiet) if hits else quiet
    categories = {name: score >= _FLAGGED for name, score in scores.items()}
    applied = {name: ["text", "image"] if has_image and name in _IMAGE_CATEGORIES else ["text"] for name in scores}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": applied,
    }
