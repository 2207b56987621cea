"""The URL table: one list of the data plane's and the operators' routes, and how a path is found in it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from router.domain.errors import NotSupported
from router.domain.requests import Api
from router.server.inference import Inference
from router.server.models import Models
from router.server.notes import Notes
from router.server.probes import Probing
from router.server.state import Serving
from router.server.stored import StoredResponses

Handler = Callable[[web.BaseRequest, Notes], Awaitable[web.StreamResponse]]

REFUSED_BY_NAME = (
    "/v1/messages/*",
    "/v1/images/*",
    "/v1/audio/*",
    "/v1/files",
    "/v1/files/*",
    "/v1/batches",
    "/v1/batches/*",
    "/v1/realtime",
    "/v1/realtime/*",
)
"""Documented APIs this version does not serve: 501 with their name, so that nobody debugs a 404."""


@dataclass(frozen=True, slots=True)
class Route:
    """`prefix` is what stands before a `*` in `name`, "" for an exact path. `is_open`: answered while draining, and
    outside the limit of addresses."""

    name: str
    handlers: Mapping[str, Handler]
    prefix: str = ""
    is_open: bool = False


class RouteTable:
    """Exact paths first, then the longest prefix. `/openai/v1/...` is `/v1/...`: some clients' base URL ends there."""

    def __init__(self, routes: list[Route]) -> None:
        exact = {route.name: route for route in routes if not route.prefix}
        self.exact = exact | {f"/openai{name}": route for name, route in exact.items() if name.startswith("/v1/")}
        self._prefixes = sorted((r for r in routes if r.prefix), key=lambda r: -len(r.prefix))

    def find(self, path: str) -> Route | None:
        """The route of a decoded path, None if there is none."""
        found = self.exact.get(path)
        if found is not None:
            return found
        return next((r for r in self._prefixes if path.startswith((r.prefix, "/openai" + r.prefix))), None)


async def not_supported(request: web.BaseRequest, notes: Notes) -> web.StreamResponse:
    raise NotSupported(f"{request.method} {request.path[:200]} is not served by this version of routerd")


def build_table(serving: Serving) -> RouteTable:
    inference = {
        "/v1/chat/completions": Api.CHAT,
        "/v1/completions": Api.COMPLETIONS,
        "/v1/responses": Api.RESPONSES,
        "/v1/embeddings": Api.EMBEDDINGS,
        "/v1/moderations": Api.MODERATIONS,
        "/v1/rerank": Api.RERANK,
        "/v1/messages": Api.MESSAGES,
        "/v1/messages/count_tokens": Api.COUNT_TOKENS,
    }
    models, probing = Models(serving), Probing(serving)
    kept = serving.responses
    stored = not_supported if kept is None else StoredResponses(serving, kept).handle
    operators = {
        "/": probing.front_door,
        "/healthz": probing.health,
        "/health": probing.health,
        "/readyz": probing.ready,
        "/metrics": probing.metrics,
    }
    return RouteTable(
        [
            *(Route(path, {"POST": Inference(serving, api).handle}) for path, api in inference.items()),
            Route("/v1/models", _read(models.list)),
            Route("/v1/models/*", _read(models.one), prefix="/v1/models/"),
            Route("/v1/responses/*", dict.fromkeys(("DELETE", "GET", "HEAD", "POST"), stored), prefix="/v1/responses/"),
            *(Route(name, {"*": not_supported}, prefix=_prefix(name)) for name in REFUSED_BY_NAME),
            *(Route(path, _read(handler), is_open=True) for path, handler in operators.items()),
        ]
    )


def _read(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _prefix(name: str) -> str:
    return name[:-1] if name.endswith("*") else ""
