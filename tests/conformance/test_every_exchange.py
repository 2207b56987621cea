"""The claim: every exchange is tried, explained by name, or of an API that is not spoken for a reason that is told."""

import pytest

from tests.conformance import test_canonical_answers as answers
from tests.conformance import test_canonical_errors as errors
from tests.conformance import test_canonical_requests as requests
from tests.conformance import test_canonical_vectors as vectors
from tests.conformance.every import NOT_SPOKEN, NOVA, chats, labels, tongue_of
from tests.conformance.recordings import ABSENT, BEYOND_SDKS, EXPLAINED, EXPLAINED_CHATS, names

pytestmark = pytest.mark.skipif(not labels(), reason=ABSENT)
EVERY_EXPLANATION = EXPLAINED | EXPLAINED_CHATS | BEYOND_SDKS


def tried() -> set[object]:
    asked = {*vectors.named(*vectors.EMBEDDINGS, *vectors.RERANKS, refused=False), *vectors.COUNTED, NOVA}
    return {*names(), *answers.ANSWERED, *requests.ASKED, *errors.REFUSED, *asked}


def test_no_exchange_is_left_out_in_silence() -> None:
    left = {name for name, label in labels().items() if label not in NOT_SPOKEN} - tried() - EVERY_EXPLANATION.keys()
    assert not left
    assert len(labels()) > 1100 and len(names()) > 600


def test_every_recorded_chat_is_tried_as_one() -> None:
    asked = {*answers.ANSWERED, *errors.CHATS}
    assert asked == set(chats()) and len(asked) > 800


def test_what_is_not_spoken_is_none_of_what_is() -> None:
    assert set(NOT_SPOKEN) <= set(labels().values())
    assert not any(tongue_of(label) or label in vectors.EMBEDDINGS | vectors.RERANKS for label in NOT_SPOKEN)
    assert all(len(reason) > 40 for reason in NOT_SPOKEN.values())


def test_at_most_two_in_a_hundred_exchanges_are_explained_each_with_its_reason() -> None:
    spoken = [name for name, label in labels().items() if label not in NOT_SPOKEN]
    assert set(EVERY_EXPLANATION) <= set(spoken)
    assert len(EVERY_EXPLANATION) <= 0.02 * len(spoken)
    assert all(len(reason) > 40 for reason in EVERY_EXPLANATION.values())
