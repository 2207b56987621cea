"""What of a provider's answer headers reaches the caller, and by which name the provider knows the request."""

from collections.abc import Mapping

PASSED_DOWN = ("retry-after", "openai-processing-ms")
_REQUEST_ID_HEADERS = ("x-request-id", "apim-request-id", "request-id", "x-amzn-requestid")
_NOTHING: Mapping[str, str] = {}


def passed_down(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Those that travel down, as they came."""
    passed = _NOTHING
    for name in PASSED_DOWN:
        if name in headers:
            passed = {**passed, name: headers[name]}
    return passed


def upstream_id(headers: Mapping[str, str]) -> str:
    """The provider's own id of this request, "" if there is none or it could not stand in a header."""
    for name in _REQUEST_ID_HEADERS:
        if name in headers:
            value = headers[name]
            return value if value.isascii() and value.isprintable() and len(value) <= 128 else ""
    return ""
