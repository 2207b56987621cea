"""Passwords of local accounts as argon2id hashes: 19 MiB, two passes, one lane; made in a thread, for they take 20 ms."""

import asyncio

from argon2 import PasswordHasher

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


async def hash_password(password: str) -> str:
    return await asyncio.to_thread(_HASHER.hash, password)
