"""Passwords of local accounts as argon2id hashes: 19 MiB, two passes, one lane; made in a thread, for they take 20 ms."""

import asyncio
import importlib


async def hash_password(password: str) -> str:
    return await asyncio.to_thread(_hashed, password)


def _hashed(password: str) -> str:
    """The library is loaded when there is a password: it is a megabyte, and most daemons start without one."""
    argon2 = importlib.import_module("argon2")
    found: str = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(password)
    return found
