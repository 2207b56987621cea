"""Embeddings by OpenAI's SDK, which asks for base64, from providers that are mocks nobody here wrote."""

from typing import Any

import pytest

from tests.clients.mock.process import VECTORS, MockProviders

pytestmark = pytest.mark.process


@pytest.mark.parametrize("alias", VECTORS)
@pytest.mark.parametrize("asked", ["A lighthouse", ["A lighthouse", "Two of a lighthouse"]], ids=["one", "two"])
def test_vectors_of_texts(sdks: dict[str, Any], mock: MockProviders, alias: str, asked: str | list[str]) -> None:
    mock.journal()
    answer = sdks["chat"].embeddings.create(model=f"{alias}-vectors", input=asked)
    wanted = 1 if isinstance(asked, str) else len(asked)
    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 0.125]] * wanted
    assert [item.index for item in answer.data] == list(range(wanted))
    [heard] = mock.journal()
    assert heard["response"]["status"] == 200 and heard["path"].split("?")[0].endswith(("/embeddings", "/v2/embed"))
