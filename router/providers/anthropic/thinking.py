"""How much to think, how long the answer may be and which form it has: members that depend on each other at Anthropic."""

import re
from typing import Any

from router.domain.chat import ChatQuery, Family, OutputKind, Thinking, ToolMode
from router.providers.anthropic.content_out import ContentWriter

Json = dict[str, Any]

LEAST_BUDGET = 1024
"""Below it Anthropic refuses."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 32768}
"""Tokens to think with, for models that take no effort."""

_EFFORTS = {"minimal": "low"}
# Models from before the effort: they think with a budget, or (3.5 and older) not at all.
_BUDGETED = re.compile(r"claude-(?:3-7|(?:opus|sonnet)-4(?:-[015])?(?:-\d{8})?(?:-v\d.*)?(?:@.*)?$|haiku-4)")
_THOUGHTLESS = re.compile(r"claude-(?:2|instant|3-(?:5|opus|sonnet|haiku))")


def thinking_members(query: ChatQuery, model: str, default_cap: int, writer: ContentWriter) -> Json:
    """`max_tokens`, `thinking` and `output_config`."""
    given = query.thinking or Thinking()
    config: Json = {}
    if query.format is not None and query.format.kind is OutputKind.SCHEMA:
        config["format"] = {"type": "json_schema", "schema": query.format.schema}
    cap = query.cap
    thinking: Json | None = None
    if query.origin is Family.ANTHROPIC or given.budget is not None or not given.effort or given.effort == "none":
        thinking = _as_said(given)
        if given.effort and given.effort != "none":
            config["effort"] = _EFFORTS.get(given.effort, given.effort)
    elif not _can_think(query, model):
        writer.drop("reasoning_effort")
    elif _BUDGETED.search(model):
        thinking = _budgeted(given, cap, writer)
    else:
        thinking = {"type": "adaptive"}
        config["effort"] = _EFFORTS.get(given.effort, given.effort)
    if thinking is not None and thinking["type"] != "disabled":
        thinking |= _display(given, query.origin, writer)
    budget = 0 if thinking is None else thinking.get("budget_tokens", 0)
    members: Json = {"max_tokens": default_cap + budget if cap is None else cap}
    if thinking is not None:
        members["thinking"] = thinking
    return members | ({"output_config": config} if config else {})


def _can_think(query: ChatQuery, model: str) -> bool:
    """A forced tool and thinking exclude each other at Anthropic."""
    is_forced = query.tool_choice is not None and query.tool_choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED)
    return not is_forced and not _THOUGHTLESS.search(model)


def _as_said(given: Thinking) -> Json | None:
    if given.is_on is False or given.effort == "none":
        return {"type": "disabled"}
    if given.budget is not None and given.budget >= 0:
        return {"type": "enabled", "budget_tokens": given.budget}
    return {"type": "adaptive"} if given.is_on or given.budget is not None else None


def _budgeted(given: Thinking, cap: int | None, writer: ContentWriter) -> Json | None:
    """A budget that leaves half of the cap for the answer."""
    budget = BUDGETS.get(given.effort, BUDGETS["medium"])
    if cap is not None:
        budget = min(budget, cap // 2)
    if budget < LEAST_BUDGET:
        writer.drop("reasoning_effort")
        return None
    return {"type": "enabled", "budget_tokens": budget}


def _display(given: Thinking, origin: Family, writer: ContentWriter) -> Json:
    """Whether the thoughts are shown. Elsewhere they are shown unless somebody says no."""
    if given.summary in {"concise", "detailed"}:
        writer.drop("reasoning summary")
    if given.summary == "none":
        return {"display": "omitted"}
    return {"display": "summarized"} if given.summary else {}
