"""What providers of models are called: the conventions' values of ``gen_ai.provider.name``, whoever reports the call."""

from __future__ import annotations

__all__ = ["provider_name"]

_PROVIDERS: dict[str, tuple[str, ...]] = {
    "anthropic": ("anthropic_text",),
    "aws.bedrock": ("amazon_bedrock", "aws", "aws_bedrock", "bedrock", "bedrock_converse"),
    "azure.ai.inference": ("az.ai.inference", "azure_ai"),
    "azure.ai.openai": ("az.ai.openai", "azure", "azure_openai", "azure_text"),
    "cohere": ("cohere_chat",),
    "deepseek": (),
    "gcp.gemini": ("gemini", "google-gla", "google_genai"),
    "gcp.gen_ai": ("google",),
    "gcp.vertex_ai": ("google-vertex", "google_vertexai", "vertex_ai", "vertex_ai_beta", "vertexai"),
    "groq": (),
    "ibm.watsonx.ai": ("ibm", "watsonx", "watsonx_text"),
    "mistral_ai": ("codestral", "mistral", "mistralai", "text-completion-codestral"),
    "openai": ("text-completion-openai",),
    "perplexity": (),
    "x_ai": ("x-ai", "xai"),
}
"""The conventions' values, and what those providers are called elsewhere: by LiteLLM, and so by DSPy; by LangSmith, and so by
LangChain; by OpenInference, Pydantic AI, and the conventions' own ``gen_ai.system`` of former days."""

_NAMES = {told: name for name, others in _PROVIDERS.items() for told in others}


def provider_name(told: str) -> str:
    """Return what the conventions call a provider; one that they do not know keeps its name, in lower case."""
    told = told.strip().lower()
    return _NAMES.get(told, told)
