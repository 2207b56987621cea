"""Servers of embeddings, rerank and moderations in the shape of every provider that is not OpenAI's, written by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Json = Any
CAPS = {"gemini": 100, "cohere": 96, "predict": 250, "tei": 32}


def vector(text: str) -> list[float]:
    """Exact in float32, another for each text of these tests."""
    return [float(len(text)), float(sum(text.encode()) % 1024), 0.5]


class VectorProvider:
    """Answers every shape; a call that holds more than its provider takes, or a text `refuse`, is refused."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Json]] = []
        self.headers: list[dict[str, str]] = []
        self.origin = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["VectorProvider"]:
        app = web.Application()
        app.router.add_post("/v1beta/models/{rest:.+}", self._gemini)
        app.router.add_post("/v1beta1/{rest:.+}", self._vertex)
        app.router.add_post("/model/{model}/invoke", self._bedrock)
        app.router.add_post("/v2/embed", self._cohere)
        app.router.add_post("/api/embed", self._ollama)
        app.router.add_post("/embed", self._tei)
        app.router.add_post("/hf-inference/models/{rest:.+}", self._tei)
        app.router.add_post("/v1/embeddings", self._openai)
        app.router.add_post("/v2/rerank", self._rank)
        app.router.add_post("/v1/rerank", self._rank)
        app.router.add_post("/rerank", self._rank)
        app.router.add_post("/contentsafety/text:analyze", self._safety)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _taken(self, request: web.Request) -> Json:
        body = await request.json()
        self.calls.append((request.path_qs, body))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if "refuse" in str(body):
            raise web.HTTPBadRequest(text='{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}')
        return body

    async def _gemini(self, request: web.Request) -> web.Response:
        requests = (await self._taken(request))["requests"]
        assert len(requests) <= CAPS["gemini"]
        texts = [one["content"]["parts"][0]["text"] for one in requests]
        usage = {"promptTokenCount": sum(map(len, texts))}
        return web.json_response({"embeddings": [{"values": vector(text)} for text in texts], "usageMetadata": usage})

    async def _vertex(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        if request.path.endswith(":embedContent"):
            text = body["content"]["parts"][0]["text"]
            return web.json_response(
                {"embedding": {"values": vector(text)}, "usageMetadata": {"promptTokenCount": len(text)}}
            )
        texts = [one["content"] for one in body["instances"]]
        assert len(texts) <= CAPS["predict"]
        found = [{"values": vector(text), "statistics": {"token_count": len(text), "truncated": False}} for text in texts]
        return web.json_response({"predictions": [{"embeddings": one} for one in found]})

    async def _bedrock(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        if "inputText" in body:
            text = body["inputText"]
            return web.json_response({"embedding": vector(text), "inputTextTokenCount": len(text)})
        count = {"x-amzn-bedrock-input-token-count": str(sum(map(len, body["texts"])))}
        return web.json_response({"embeddings": {"float": [vector(text) for text in body["texts"]]}}, headers=count)

    async def _cohere(self, request: web.Request) -> web.Response:
        texts = (await self._taken(request))["texts"]
        assert len(texts) <= CAPS["cohere"]
        meta = {"billed_units": {"input_tokens": sum(map(len, texts))}}
        return web.json_response({"id": "e", "embeddings": {"float": [vector(text) for text in texts]}, "meta": meta})

    async def _ollama(self, request: web.Request) -> web.Response:
        texts = (await self._taken(request))["input"]
        found = [vector(text) for text in texts]
        return web.json_response({"model": "m", "embeddings": found, "prompt_eval_count": sum(map(len, texts))})

    async def _tei(self, request: web.Request) -> web.Response:
        texts = (await self._taken(request))["inputs"]
        assert len(texts) <= CAPS["tei"]
        return web.json_response([vector(text) for text in texts])

    async def _openai(self, request: web.Request) -> web.Response:
        given = (await self._taken(request))["input"]
        texts = [given] if isinstance(given, str) else given
        data = [{"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": sum(map(len, texts)), "total_tokens": sum(map(len, texts))}
        return web.json_response({"object": "list", "data": data, "model": "m", "usage": usage})

    async def _rank(self, request: web.Request) -> web.Response:
        """The longest document first: Text Embeddings Inference's shape, Bedrock's, and that of all others."""
        body = await self._taken(request)
        if "texts" in body:
            return web.json_response([{"index": i, "score": len(t) / 100} for i, t in _longest(body["texts"])])
        if "sources" in body:
            texts = [one["inlineDocumentSource"]["textDocument"]["text"] for one in body["sources"]]
            return web.json_response({"results": [{"index": i, "relevanceScore": len(t) / 100} for i, t in _longest(texts)]})
        found = [{"index": i, "relevance_score": len(t) / 100} for i, t in _longest(body["documents"])]
        return web.json_response(
            {"id": "r", "results": found[: body.get("top_n")], "meta": {"billed_units": {"search_units": 1}}}
        )

    async def _safety(self, request: web.Request) -> web.Response:
        text = (await self._taken(request))["text"]
        found = [{"category": name, "severity": 0} for name in ("Hate", "SelfHarm", "Sexual")]
        found.append({"category": "Violence", "severity": 4 if "stab" in text else 0})
        return web.json_response({"blocklistsMatch": [], "categoriesAnalysis": found})


def _longest(texts: list[str]) -> list[tuple[int, str]]:
    return sorted(enumerate(texts), key=lambda one: -len(one[1]))
