"""A medium that a model made, for callers whose dialect has no place for it in an answer: in Markdown, as a text."""

from router.domain.chat import Document, Image, Text
from router.providers.openai_chat_codec.media import url_of


def as_text(part: Image | Document) -> Text:
    """A link to it, an image to be seen in its place, or what it says."""
    if isinstance(part, Image):
        return Text(f"![image]({url_of(part.source)})")
    return Text(part.source.text or f"[{part.name or 'file'}]({url_of(part.source) or part.source.file_id})")
