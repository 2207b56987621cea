"""How servers of Chat Completions differ in what they may be asked on behalf of callers of other APIs.

What their own callers say passes unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Accent:
    """`cap`, `seed`: the names of the output cap and of the seed. `has_developer`: the role of that name. `asks_usage`: a
    stream tells its usage only where asked. `has_top_k`: it samples by it. `has_allowed_tools`: a choice may name several.
    `has_custom_tools`: tools may take free text.

    `drops` are members of a request that are left out (of DROPPED), `refuses` those that are refused. `efforts` and `tiers`
    are the server's words for common ones, where it has not all of them; a tier without a word is refused.
    `is_mistral`: ids of calls are nine letters or digits, documents are `document_url`, a last word of the assistant's is
    marked to be gone on from, and between a tool's result and the user the assistant says something.
    """

    cap: str = "max_tokens"
    seed: str = "seed"
    has_developer: bool = False
    asks_usage: bool = True
    has_top_k: bool = True
    has_allowed_tools: bool = False
    has_custom_tools: bool = False
    drops: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    efforts: Mapping[str, str] = field(default_factory=dict)
    tiers: Mapping[str, str] | None = None
    is_mistral: bool = False


COMPATIBLE = Accent()
OPENAI = Accent(
    cap="max_completion_tokens", has_developer=True, has_top_k=False, has_allowed_tools=True, has_custom_tools=True
)
MISTRAL = Accent(
    seed="random_seed",
    asks_usage=False,
    drops=frozenset({"user", "store", "service_tier", "verbosity", "speaker's name"}),
    refuses=frozenset({"logit_bias", "modalities", "audio"}),
    is_mistral=True,
)
GROQ = Accent(
    cap="max_completion_tokens",
    has_top_k=False,
    drops=frozenset({"verbosity", "prompt_cache_key"}),
    refuses=frozenset({"modalities", "audio"}),
    efforts={"minimal": "low", "xhigh": "high", "max": "high"},
    tiers={"auto": "auto", "default": "on_demand", "flex": "flex", "priority": "performance"},
)
