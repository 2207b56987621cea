"""Counts of prompts that nobody answers, as usage counts them: OpenAI's for Responses, vLLM's for Chat Completions."""

from collections.abc import Mapping
from typing import Any

from router.providers.simulated.exchange import Exchange, json_exchange
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.providers.simulated.request import chat_ask, responses_ask


def answer_input_tokens(
    body: Mapping[str, Any], _options: SimulateOptions, _fault: FaultKind | None, _created: int
) -> Exchange:
    """Raises BadRequest."""
    return json_exchange({"object": "response.input_tokens", "input_tokens": responses_ask(body).prompt_tokens})


def answer_tokenize(body: Mapping[str, Any], _options: SimulateOptions, _fault: FaultKind | None, _created: int) -> Exchange:
    """Raises BadRequest."""
    return json_exchange({"count": chat_ask(body).prompt_tokens})
