"""The line that stands in the journal before an attempt is sent; most of it is the same from one attempt to the next."""

from msgspec import Raw

from router.domain.budgets import Posting
from router.domain.ledger import AttemptTerms, OpenedAttempt, encoded_terms
from router.domain.requests import API_NAMES
from router.domain.routes import Candidate
from router.domain.usage import NanoUSD
from router.gateway.case import Case
from router.gateway.purses import Hold


def opened_line(
    case: Case, candidate: Candidate, credential: str, hold: Hold | None, *, number: int, at: int
) -> OpenedAttempt:
    """The line of an attempt of `case` that begins `at` (wall-clock microseconds)."""
    request = case.request
    held, postings = (NanoUSD(0), ()) if hold is None else (hold.bound.amount, hold.funds.postings)
    known = case.permit.terms
    name = (candidate.alias.name, candidate.target.id, candidate.upstream_model, credential)
    found = known.get(name)
    # Funds bring the same tuple until their period ends.
    if found is None or found[0] is not postings:
        found = known[name] = (postings, _encoded(case, candidate, credential, postings))
    # In the order of its fields: their names would cost more than all the rest.
    return OpenedAttempt(
        case.id,
        number,
        at,
        case.caller.request_id,
        request.stream,
        held,
        max(1, len(request.body) // 4),
        found[1],
    )


def _encoded(case: Case, candidate: Candidate, credential: str, postings: tuple[Posting, ...]) -> Raw:
    who, target, price = case.principal, candidate.target, candidate.target.price
    terms = AttemptTerms(
        tenant_id=who.tenant_id,
        tenant=who.tenant,
        key_id=who.key_id,
        key=who.key,
        member=who.member,
        api=API_NAMES[case.request.api],
        alias=candidate.alias.name,
        requested_model=case.permit.requested,
        provider=target.provider,
        target=target.id,
        upstream_model=candidate.upstream_model,
        credential=credential,
        fingerprint=case.permit.generation.snapshot.fingerprint,
        price_input=price.input if price is not None else 0,
        price_output=price.output if price is not None else 0,
        price_known=price is not None,
        postings=postings,
    )
    return encoded_terms(terms)
