"""What the small providers call a tool with: a patch where it takes one text, else a city."""

from typing import Any

PATCH = '*** Begin Patch\n*** Update File: a.py\n@@\n-x = "1"\n+x = "€ \\ \U0001f600"\n*** End Patch\n'


def input_of(schema: dict[str, Any]) -> dict[str, str]:
    return {"input": PATCH} if "input" in schema.get("properties", {}) else {"city": "Genoa"}
