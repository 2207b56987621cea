"""A conversation with calls of tools that are not offered any more."""

from typing import Any

from router.providers.anthropic.codec import ANTHROPIC
from tests.providers.spoken import Spoken

MESSAGES = Spoken(ANTHROPIC)
CALLS = [
    {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": "{}"}} for at, name in enumerate("fgf")
]
RESULTS = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in CALLS]
TOLD: dict[str, Any] = {
    "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": CALLS}, *RESULTS],
}


def test_the_tools_that_were_called_are_declared_and_none_may_be_called() -> None:
    sent = MESSAGES.sent(TOLD)
    assert [tool["name"] for tool in sent["tools"]] == ["f", "g"]
    assert sent["tool_choice"] == {"type": "none"}


def test_where_tools_are_offered_nothing_is_added() -> None:
    sent = MESSAGES.sent(TOLD | {"tools": [{"type": "function", "function": {"name": "h"}}]})
    assert [tool["name"] for tool in sent["tools"]] == ["h"] and "tool_choice" not in sent


def test_a_call_that_must_be_made_is_not_turned_into_none() -> None:
    assert "tools" not in MESSAGES.sent(TOLD | {"tool_choice": "required"})
