"""Converse's words for what is common: how an answer ended, formats of media, what its errors are called."""

from router.domain.chat import Finish

FINISHES = {
    "end_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "stop_sequence": Finish.STOP_SEQUENCE,
    "tool_use": Finish.TOOLS,
    "guardrail_intervened": Finish.FILTERED,
    "content_filtered": Finish.FILTERED,
    "malformed_model_output": Finish.MALFORMED,
    "malformed_tool_use": Finish.MALFORMED,
    "model_context_window_exceeded": Finish.CONTEXT,
}
STATUSES = {
    "validationException": 400,
    "accessDeniedException": 403,
    "resourceNotFoundException": 404,
    "modelTimeoutException": 408,
    "modelErrorException": 424,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "modelNotReadyException": 429,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
"""Of an exception within a stream, the status that it has as an answer."""

IMAGE_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENT_FORMATS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/x-markdown": "md",
}
VIDEO_FORMATS = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
AUDIO_FORMATS = {
    "mp3": "mp3",
    "wav": "wav",
    "opus": "opus",
    "aac": "aac",
    "flac": "flac",
    "ogg": "ogg",
    "m4a": "m4a",
    "webm": "webm",
}
SIGNS = {"iVBOR": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}
"""How base64 of an image begins, by its format."""

TIERS_ASKED = {"auto": "", "default": "default", "standard": "default", "flex": "flex", "priority": "priority"}
"""`service_tier` of a request; "" is not said."""


def finish_of(reason: str) -> Finish:
    return FINISHES.get(reason, Finish.UNKNOWN)
