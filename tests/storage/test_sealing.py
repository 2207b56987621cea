"""Sealed answers open under what they were sealed under, and under nothing else; nobody loads the library in vain."""

import subprocess
import sys

import pytest

from router.storage.sealing import AesGcm

KEY = b"k" * 32


def test_what_is_sealed_opens_and_is_sealed_otherwise_each_time() -> None:
    cipher = AesGcm(KEY)
    one, other = cipher.seal(b"plain", "n", b"c"), cipher.seal(b"plain", "n", b"c")
    assert one != other
    assert AesGcm(KEY).open(one, "n", b"c") == b"plain"
    assert b"plain" not in one


@pytest.mark.parametrize(("name", "context", "key"), [("m", b"c", KEY), ("n", b"d", KEY), ("n", b"c", b"x" * 32)])
def test_under_anything_else_it_does_not_open(name: str, context: bytes, key: bytes) -> None:
    sealed = AesGcm(KEY).seal(b"plain", "n", b"c")
    with pytest.raises(ValueError, match="not what was sealed"):
        AesGcm(key).open(sealed, name, context)


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s[:20] + bytes([s[20] ^ 1]) + s[21:]], ids=["cut", "altered"]
)
def test_what_was_altered_does_not_open(damage: "object") -> None:
    assert callable(damage)
    sealed = damage(AesGcm(KEY).seal(b"plain text", "n", b"c"))
    with pytest.raises(ValueError, match="not what was sealed"):
        AesGcm(KEY).open(sealed, "n", b"c")


def test_a_daemon_does_not_load_the_library_before_it_needs_it() -> None:
    program = "import sys, router.app.daemon; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
