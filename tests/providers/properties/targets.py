"""Every dialect that a provider may be spoken to in, with models of it that differ in what they take."""

from router.providers.anthropic.codec import ANTHROPIC
from router.providers.bedrock.codec import BEDROCK
from router.providers.codec import CallerSide, TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import GeminiCodec
from router.providers.gemini.query_out import VERTEX
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.openai_chat_codec.accents import COMPATIBLE, GROQ, MISTRAL
from router.providers.openai_chat_codec.codec import OPENAI_CHAT, OpenAIChat
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES

TARGETS: dict[str, tuple[TargetSide, tuple[str, ...]]] = {
    "openai": (OPENAI_CHAT, ("gpt-4o", "o3")),
    "compatible": (OpenAIChat(COMPATIBLE), ("m",)),
    "mistral": (OpenAIChat(MISTRAL), ("mistral-large-latest",)),
    "groq": (OpenAIChat(GROQ), ("llama-3.3-70b",)),
    "anthropic": (ANTHROPIC, ("claude-sonnet-4-5", "claude-3-haiku-20240307")),
    "responses": (OPENAI_RESPONSES, ("gpt-5", "gpt-4o")),
    "gemini": (GeminiCodec(), ("gemini-2.5-flash", "gemini-3-pro-preview")),
    "vertex": (GeminiCodec(VERTEX), ("gemini-2.5-pro",)),
    "bedrock": (BEDROCK, ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0", "meta.llama3-8b")),
    "cohere": (COHERE_CHAT, ("command-a-03-2025",)),
    "ollama": (OLLAMA_CHAT, ("llama3.2",)),
}
CALLERS: dict[str, tuple[CallerSide, TargetSide]] = {
    "chat": (OPENAI_CHAT, OPENAI_CHAT),
    "messages": (ANTHROPIC, ANTHROPIC),
    "responses": (OPENAI_RESPONSES, OPENAI_RESPONSES),
}
"""Each caller's side, and the other side of the same dialect: who reads what such a caller is told."""
