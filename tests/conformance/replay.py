"""An exchange through the whole gateway in process: a scripted transport stands where the sockets do."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from router.config.provider_types import PROVIDER_TYPES, default_apis
from router.domain.errors import GatewayError
from router.domain.flow import pieces_of
from router.domain.ledger import LedgerEntry
from router.domain.requests import API_KIND, Api, parse_request
from router.domain.routes import Alias, Credential, ProviderSpec, Target
from router.domain.upstream import UpstreamCall
from router.gateway.answer import Answer
from tests.conformance.expected import Json, Write
from tests.conformance.recordings import Exchange, place_of
from tests.gateway.fakes import Scripted
from tests.gateway.table import PRICE, Table

WHOLE = 1 << 30
TIER = "the-only-one"


class Pieces(Scripted):
    """The answer to an exchange, cut as ordered."""

    def __init__(self, of: Exchange, pieces: Iterable[bytes]) -> None:
        super().__init__(of.status, b"", [])
        self.headers = of.upstream_headers
        self._cut = iter(pieces)

    async def read(self, limit: int) -> bytes:
        self.body = b"".join(self._cut)
        return await super().read(limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._cut:
            yield piece


def cut_in(size: int, body: bytes) -> Sequence[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@dataclass
class Replayed:
    """What came of one replay: the answer or the error, the bytes for the caller, the ledger's entry."""

    answer: Answer | None
    error: GatewayError | None
    body: bytes
    entry: LedgerEntry


class Replay:
    """One exchange and a gateway of its own. The alias is `alias`; the target's model is what upstream is told."""

    def __init__(self, of: Exchange, *, alias: str, model: str) -> None:
        self._of = of
        self._place = place_of(of, "http://upstream.test")
        target = Target("p/m", "p", model, deployment=self._place.deployment, price=PRICE)
        named = Alias(alias, API_KIND[of.api], (target,))
        self._table = Table(named, providers=[self._spec()], changes={"tiers": {TIER: alias}})

    def _spec(self) -> ProviderSpec:
        provider = self._place.provider
        kind, version = PROVIDER_TYPES[provider["type"]], provider.get("api_version", "")
        apis = frozenset(map(Api, provider["apis"])) if "apis" in provider else default_apis(kind, version)
        return ProviderSpec(
            "p",
            kind.name,
            provider.get("base_url") or provider["endpoint"],
            (Credential("p/0", provider["api_key"]),),
            api_version=version,
            apis=apis,
        )

    async def ask(self, sent: Json, write: Write, pieces: Iterable[bytes]) -> Replayed:
        """Send `sent` and read the answer to its end, however it ends."""
        table = self._table
        table.transport.scripts["upstream"] = [Pieces(self._of, pieces)]
        request = parse_request(self._of.api, write(sent))
        got: list[bytes] = []
        answer = error = None
        tier = None if request.fields.model else TIER
        try:
            async with table.open(request, tier=tier) as answer:
                if answer.frames is None:
                    got.append(answer.body or b"")
                else:
                    async for block in pieces_of(answer.frames):
                        got += [block]
        except GatewayError as raised:
            error = raised
        return Replayed(answer, error, b"".join(got), table.ledger.entries.pop())

    @property
    def calls(self) -> list[UpstreamCall]:
        return self._table.transport.calls
