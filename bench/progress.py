"""What a run tells while it works: standard error, so that the table alone is on standard output."""

import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
