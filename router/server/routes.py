"""The URL table of the data plane and the operators' routes: one list."""

from aiohttp import web

from router.domain.errors import NotSupported
from router.domain.requests import Api
from router.server.inference import Inference
from router.server.middleware import edge
from router.server.models import list_models, one_model
from router.server.probes import front_door, health, metrics, ready
from router.server.state import SERVING, Serving

REFUSED_BY_NAME = (
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/images/{kind}"),
    ("POST", "/v1/audio/{kind}"),
    ("*", "/v1/files{rest:.*}"),
    ("*", "/v1/batches{rest:.*}"),
    ("*", "/v1/responses/{rest:.+}"),
    ("*", "/v1/realtime{rest:.*}"),
)
"""Documented APIs this version does not serve: 501 with their name, so that nobody debugs a 404."""


async def not_supported(request: web.Request) -> web.StreamResponse:
    raise NotSupported(f"{request.method} {request.path[:200]} is not served by this version of routerd")


def data_plane() -> list[web.RouteDef]:
    """Routes under /v1, each also under /openai/v1."""
    inference = {
        "/v1/chat/completions": Api.CHAT,
        "/v1/completions": Api.COMPLETIONS,
        "/v1/responses": Api.RESPONSES,
        "/v1/embeddings": Api.EMBEDDINGS,
        "/v1/moderations": Api.MODERATIONS,
    }
    routes = [web.post(path, Inference(api).handle) for path, api in inference.items()]
    routes += [web.get("/v1/models", list_models), web.get("/v1/models/{id:.+}", one_model)]
    routes += [web.route(method, path, not_supported) for method, path in REFUSED_BY_NAME]
    return routes + [web.route(r.method, "/openai" + r.path, r.handler, **r.kwargs) for r in routes]


def operators() -> list[web.RouteDef]:
    return [
        web.get("/", front_door),
        web.get("/healthz", health),
        web.get("/health", health),
        web.get("/readyz", ready),
        web.get("/metrics", metrics),
    ]


def build_app(serving: Serving) -> web.Application:
    """The one application. Bodies are bounded where they are read, by the snapshot in force."""
    app = web.Application(middlewares=[edge], client_max_size=0)
    app[SERVING] = serving
    app.add_routes(operators())
    app.add_routes(data_plane())
    return app
