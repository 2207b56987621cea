"""The store of kept responses as a double, to be away when a test says so."""

from collections.abc import Mapping, Sequence

import msgspec

from router.domain.errors import StorageUnavailable
from router.domain.responses import KeptResponse, ResponseStatus


class ResponseTable:
    """Implements domain.ports.ResponseStore in memory. While `is_away` nothing answers."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptResponse] = {}
        self.pieces: dict[str, list[bytes]] = {}
        self.is_away = False
        self.calls: list[str] = []

    def _ask(self, what: str) -> None:
        self.calls.append(what)
        if self.is_away:
            raise StorageUnavailable("away")

    async def begin(self, response: KeptResponse) -> None:
        self._ask("begin")
        self.kept[response.id] = response

    async def advance(self, name: str) -> None:
        self._ask("advance")
        self.kept[name] = msgspec.structs.replace(self.kept[name], status=ResponseStatus.IN_PROGRESS)

    async def end(self, response: KeptResponse) -> bool:
        self._ask("end")
        now = self.kept.get(response.id)
        if now is not None and now.status.is_final:
            return False
        self.kept[response.id] = response
        return True

    async def stop(self, tenant: str, name: str) -> bool:
        self._ask("stop")
        now = self.kept[name]
        if now.status.is_final:
            return False
        self.kept[name] = msgspec.structs.replace(now, status=ResponseStatus.CANCELLED)
        return True

    async def stopped(self) -> Sequence[str]:
        self._ask("stopped")
        return []

    async def forget(self, tenant: str, name: str) -> bool:
        self._ask("forget")
        return self.kept.pop(name, None) is not None

    async def find(self, tenant: str, name: str) -> KeptResponse | None:
        self._ask("find")
        found = self.kept.get(name)
        return found if found is not None and found.tenant_id == tenant else None

    async def turns(self, tenant: str, name: str) -> Sequence[KeptResponse]:
        self._ask("turns")
        turns: list[KeptResponse] = []
        following: str | None = name
        while following is not None:
            turn = self.kept.get(following)
            if turn is None or turn.tenant_id != tenant:
                return ()
            turns.insert(0, turn)
            following = turn.previous_id
        return turns

    async def holders(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, KeptResponse]:
        self._ask("holders")
        return {item: kept for item in item_ids for kept in self.kept.values() if item in kept.item_ids}

    async def add_events(self, name: str, number: int, frames: bytes) -> None:
        self._ask("add_events")
        self.pieces.setdefault(name, []).append(frames)

    async def events(self, name: str, after: int) -> Sequence[tuple[int, bytes]]:
        self._ask("events")
        return list(enumerate(self.pieces.get(name, ())))[after + 1 :]

    async def sweep(self) -> int:
        self._ask("sweep")
        return 0
