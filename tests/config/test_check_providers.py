"""Providers against the table of types: what each needs and refuses."""

from pathlib import Path

import pytest

from router.domain.upstream import TRANSPORT_HEADERS
from tests.config.samples import only, problems


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        ("providers: {p: {}}\n", "providers.p.type", "nothing", "the key type"),
        ('providers: {"p\\r": {type: simulated}}\n', "providers.p\r", "p", "without control characters"),
        ("providers: {p: {type: openai}}\n", "providers.p", "nothing", "api_key"),
        ("providers: {p: {type: openai, api_key: ''}}\n", "providers.p", "an empty credential", "api_key"),
        ("providers: {p: {type: openai, api_key: k, api_keys: [{key: l}]}}\n", "providers.p", "both", "one of the two"),
        ("providers: {p: {type: openai-compatible}}\n", "providers.p", "nothing", "base_url"),
        ("providers: {p: {type: azure-openai, api_key: k}}\n", "providers.p", "nothing", "endpoint"),
        ("providers: {p: {type: cohere}}\n", "providers.p", "nothing", "api_key"),
        ("providers: {p: {type: cohere, api_key: k, apis: [chat]}}\n", "providers.p.apis", '"chat"', "cohere_chat"),
        (
            "providers: {p: {type: cohere, api_key: k, stream_usage: true}}\n",
            "providers.p",
            "the key stream_usage",
            "for the type cohere",
        ),
        (
            "providers: {p: {type: vllm, base_url: 'http://h', apis: [ollama_chat]}}\n",
            "providers.p.apis",
            '"ollama_chat"',
            "the type vllm serves no other",
        ),
        ("providers: {p: {type: simulated, base_url: 'http://h'}}\n", "providers.p", "the key base_url", "one of apis"),
        (
            "providers: {p: {type: groq, api_key: k, apis: [chat, moderations]}}\n",
            "providers.p.apis",
            '"moderations"',
            "one of chat",
        ),
        ("providers: {p: {type: openai-compatible, base_url: 'ftp://h'}}\n", "providers.p.base_url", '"ftp://h"', "http://"),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://u:canary@h'}}\n",
            "providers.p.base_url",
            "***",
            "without user",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', ca_file: nope.pem}}\n",
            "providers.p.ca_file",
            "no such file",
            "PEM",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', headers: {'a b': x}}}\n",
            "providers.p.headers",
            "a mapping",
            "names of HTTP headers",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', headers: {X-A: \"b\\u0001c\"}}}\n",
            "providers.p.headers",
            "a mapping",
            "without control characters",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', headers: {X-A: b, Host: canary}}}\n",
            "providers.p.headers.Host",
            "the header host",
            "routerd writes it itself",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', headers: {Accept-Encoding: gzip}}}\n",
            "providers.p.headers.Accept-Encoding",
            "the header accept-encoding",
            "uncompressed",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', proxy: 'https://me:canary@p:1'}}\n",
            "providers.p.proxy",
            "***",
            "http://proxy.example:3128",
        ),
        (
            "providers: {p: {type: openai-compatible, base_url: 'http://h', proxy: 'http://p:1/path'}}\n",
            "providers.p.proxy",
            '"http://p:1/path"',
            "without a path",
        ),
        ("providers: {p: {type: simulated, proxy: environment}}\n", "providers.p", "the key proxy", "one of apis"),
        (
            "providers: {p: {type: simulated, simulate: {faults: [{kind: rate_limit}]}}}\n",
            "providers.p.simulate.faults[0].kind",
            '"rate_limit"',
            "rate_limited",
        ),
        (
            (
                "providers: {p: {type: groq, api_key: k}}\n"
                "model_catalog: [{alias: a, type: embeddings, targets: [{provider: p}]}]\n"
            ),
            "model_catalog[0].targets[0].provider",
            '"p", which serves chat',
            "embeddings",
        ),
    ],
)
def test_a_mistake_is_one_located_error(tmp_path: Path, text: str, key: str, found: str, expected: str) -> None:
    problem = only(problems(tmp_path, text))
    assert problem.key == key
    assert found in problem.found, problem.render()
    assert expected in problem.expected, problem.render()
    assert problem.line > 0
    assert "canary" not in problem.render()


@pytest.mark.parametrize("name", sorted(TRANSPORT_HEADERS))
def test_no_header_of_the_connection_can_be_configured(tmp_path: Path, name: str) -> None:
    text = f"providers: {{p: {{type: groq, api_key: k, headers: {{{name.title()}: x}}}}}}\n"
    assert only(problems(tmp_path, text)).key == f"providers.p.headers.{name.title()}"


def test_an_azure_target_names_its_deployment_only_on_the_dated_route(tmp_path: Path) -> None:
    text = "providers: {z: {type: azure-openai, endpoint: 'https://h', api_key: k%s}}\n"
    text += "model_catalog: [{alias: a, targets: [{provider: z, model: m}]}]\n"
    assert "deployment" in only(problems(tmp_path, text % "")).expected
    assert problems(tmp_path, text % ", api_version: v1") == ()
    assert problems(tmp_path, text % ", api_version: preview") == ()
