"""Images, files and sound in the words of Chat Completions: `data:` URLs and bare base64, and back."""

from router.domain.chat import Source

AUDIO_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "pcm16": "audio/pcm",
}
_FORMATS = {media_type: name for name, media_type in AUDIO_TYPES.items()} | {
    "audio/mp3": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}
_BASE64 = ";base64"


def source_of(url: str) -> Source:
    """Where `url` points; a `data:` URL in base64 is taken apart."""
    if url.startswith("data:"):
        head, comma, content = url[5:].partition(",")
        if comma and head.endswith(_BASE64):
            return Source(media_type=head.removesuffix(_BASE64), data=content)
    return Source(url=url)


def url_of(source: Source) -> str:
    """The URL of a medium given by its content or by its address, "" for one given by neither."""
    if source.data:
        return f"data:{source.media_type or 'application/octet-stream'}{_BASE64},{source.data}"
    return source.url


def format_of(media_type: str) -> str:
    """OpenAI's name of a sound's format, "" where it has none."""
    return _FORMATS.get(media_type.partition(";")[0], "")
