"""What stands as the signature of a thought for an Anthropic caller: Anthropic's own, or another family's, carried."""

from router.domain.chat import Family, Reasoning
from router.providers.carried import Carried, packed, unpacked

__all__ = ["Carried", "packed", "sealed", "unpacked"]


def sealed(part: Reasoning, signature: str = "", encrypted: str = "") -> str:
    """Anthropic's own signature, or another family's packed; "" where there is none."""
    signature, encrypted = signature or part.signature, encrypted or part.encrypted
    if part.family is Family.ANTHROPIC:
        return signature
    if part.family is None or not (signature or encrypted or part.id):
        return ""
    return packed(Carried(part.family, signature, encrypted, part.id, is_summary=part.is_summary))
