"""How much to think: of Converse's own words only Claude's effort; the rest is each maker's, in the additional fields."""

from typing import Any

from router.domain.chat import ChatQuery, Thinking
from router.providers.anthropic.content_out import ContentWriter
from router.providers.anthropic.thinking import thinking_members
from router.providers.bedrock.family import Maker
from router.providers.saying import Saying

Json = dict[str, Any]

_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_BY_BUDGET = ((2048, "low"), (8192, "medium"))


def thinking_fields(query: ChatQuery, model: str, maker: Maker, saying: Saying) -> tuple[Json, str]:
    """(members of `additionalModelRequestFields`, `outputConfig.effort` or "")."""
    given = query.thinking
    if given is None:
        return {}, ""
    if given.wants_encrypted:
        saying.drop("encrypted reasoning")
    if maker is Maker.CLAUDE:
        return _claude(query, model, saying)
    if given.summary:
        saying.drop("reasoning summary")
    return _others(_level(given), maker, saying), ""


def _others(level: str | None, maker: Maker, saying: Saying) -> Json:
    if maker is Maker.NOVA:
        if level is None:
            return {}
        if level == "none":
            return {"reasoningConfig": {"type": "disabled"}}
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    if maker in {Maker.GPT_OSS, Maker.OPENAI} and level not in {None, "none"}:
        return {"reasoning_effort": level} if maker is Maker.GPT_OSS else {"reasoning": {"effort": level}}
    if level is not None:
        saying.drop("reasoning_effort")
    return {}


def _claude(query: ChatQuery, model: str, saying: Saying) -> tuple[Json, str]:
    """As Anthropic's own API has it. The cap need not be told here: unsaid, it is the model's own."""
    writer = ContentWriter(query.origin, "")
    members = thinking_members(query, model, 0, writer)
    for name in writer.dropped:
        saying.drop(name)
    found: Json = {"thinking": members["thinking"]} if "thinking" in members else {}
    return found, members.get("output_config", {}).get("effort", "")


def _level(given: Thinking) -> str | None:
    """low, medium or high; none for not at all; None where nothing is said."""
    if given.is_on is False or given.effort == "none" or given.budget == 0:
        return "none"
    if given.effort:
        return _LEVELS.get(given.effort, "medium")
    if given.budget is None or given.budget < 0:
        return "medium" if given.is_on else None
    return next((level for most, level in _BY_BUDGET if given.budget <= most), "high")
