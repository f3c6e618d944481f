"""What is known of a model's answer."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Answer"]

_SUMMED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd")


class Answer(NamedTuple):
    """What is known of a model's answer; None and empty where it is not told (OpenTelemetry GenAI semantic conventions).

    Attributes:
        input_tokens: Tokens of the prompt, those read from and written to the provider's cache included.
        output_tokens: Tokens of the answer, those of its reasoning included.
        cache_read_tokens: How many of the input came from the provider's cache.
        cache_write_tokens: How many of the input were written to it.
        reasoning_tokens: How many of the output were reasoning.
        response_model: The model that answered, by the provider's word.
        response_id: The provider's id of the answer.
        finish_reasons: Why each choice ended, such as ``stop``.
        cost_usd: What it cost, where the framework knows that.
        is_cache_hit: Whether a cache of the program's own answered: then nothing was spent.
        is_partial: Whether a part of what was used is not told, as by one of several attempts: the tokens are counted as far as
            they are known, and their price is not taken for that of the call.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    response_model: str | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    cost_usd: float | None = None
    is_cache_hit: bool = False
    is_partial: bool = False

    def plus(self, other: Answer) -> Answer:
        """Return the tokens and costs of both, of what else is told that of this one."""
        sums = {name: _sum(getattr(self, name), getattr(other, name)) for name in _SUMMED}
        return self._replace(**sums)

    def as_counted(self) -> Answer:
        """Return what counts of it: of what a cache gave again, no more than who had answered."""
        return Answer(response_model=self.response_model, is_cache_hit=True) if self.is_cache_hit else self

    @property
    def tokens(self) -> int:
        """The input and output that were used; none where a cache answered."""
        return 0 if self.is_cache_hit else (self.input_tokens or 0) + (self.output_tokens or 0)


def _sum(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other
