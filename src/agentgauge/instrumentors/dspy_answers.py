"""What DSPy's results say: tokens under the names of every provider, cost, finish reasons, and messages as spans bear them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from agentgauge.recording.lm_call import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["answer_of", "asked", "input_messages", "output_messages", "read"]

_NOTHING: dict[str, Any] = {}
_CHAT_USAGE = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)
_UNTOLD = (None, None, None, None, None)


def read(thing: Any, name: str) -> Any:
    """Return an item of a dictionary, or an attribute of anything else; None where there is none."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def answer_of(results: Sequence[Any], inner: Sequence[Any] = ()) -> Answer:
    """Return what is known of an answer.

    Args:
        results: DSPy's ``CallResult`` of each attempt and candidate that was answered.
        inner: Those of models that were asked on the way; they count where ``results`` tell no tokens.
    """
    if len(results) == 1 and not inner:
        return _answer_of_one(results[0])
    last = (results or inner)[-1]
    if any(map(_is_cache_hit, results)):
        return Answer(response_model=_text(last.response_model), is_cache_hit=True)
    counted = asked = results
    sent, said, read_, written, reasoned = _total(results)
    if inner and not sent and not said:
        counted = below = [each for each in inner if not _is_cache_hit(each)]
        # A model that asks others and tells nothing of its own is no attempt of which the cost is missing.
        asked = [*(each for each in results if _cost_of(each) is not None), *below]
        sent, said, read_, written, reasoned = _total([*results, *below])
    reasons: list[str] = []
    response_id = None
    for result in results:
        response_id = _read_answers(result, reasons) or response_id
    costs = [cost for cost in map(_cost_of, asked) if cost is not None]
    return Answer(
        input_tokens=sent,
        output_tokens=said,
        cache_read_tokens=read_,
        cache_write_tokens=written,
        reasoning_tokens=reasoned,
        response_model=_text(last.response_model),
        response_id=response_id,
        finish_reasons=tuple(reasons),
        cost_usd=sum(costs) if costs and len(costs) == len(asked) else None,  # that of some alone would be taken for that of all
        is_partial=_is_partial(counted),
    )


def _is_partial(results: Sequence[Any]) -> bool:
    """Tell whether some of several attempts or candidates tell what they used and others do not."""
    sent: set[bool] = set()
    said: set[bool] = set()
    for result in results:
        if len(result.responses) > 1:  # DSPy adds up what each of them tells
            told = [(read(each.usage, "input_tokens"), read(each.usage, "output_tokens")) for each in result.responses]
        else:
            first, second, *_ = _tokens_of(result.usage)
            told = [(first, second)]
        sent.update(count is None for count, _ in told)
        said.update(count is None for _, count in told)
    return len(sent) > 1 or len(said) > 1


def _answer_of_one(result: Any) -> Answer:
    model = result.response_model
    if not isinstance(model, str):
        model = None
    if _is_cache_hit(result):
        return Answer(response_model=model, is_cache_hit=True)
    responses = result.responses
    if len(responses) == 1:
        [response] = responses
        response_id = _text(response.id)
        reasons: tuple[str, ...] = (response.finish_reason,) if response.finish_reason else ()
    else:
        several: list[str] = []
        response_id = _read_answers(result, several)
        reasons = tuple(several)
    sent, said, read_, written, reasoned = _tokens_of(result.usage)
    answer = Answer(sent, said, read_, written, reasoned, model or None, response_id, reasons, _cost_of(result))
    return answer._replace(is_partial=True) if len(responses) > 1 and _is_partial((result,)) else answer


def _cost_of(result: Any) -> float | None:
    cost = result.cost
    return float(cost) if isinstance(cost, int | float) else None


def _is_cache_hit(result: Any) -> bool:
    """Tell whether DSPy's cache answered, or one of a custom model's own, which says so as LiteLLM does."""
    return result.cache_hit or (not result.responses and read(result.raw, "cache_hit") is True)


def _tokens_of(usage: Any) -> Sequence[int | None]:
    """Return tokens in the order of ``Answer``: under the names of OpenAI's chat, of its responses, and of Anthropic."""
    if not isinstance(usage, dict) or not usage:
        return _UNTOLD
    get = usage.get
    if usage.keys() <= _CHAT_USAGE and not get("prompt_tokens_details") and not get("completion_tokens_details"):
        sent, said = get("prompt_tokens"), get("completion_tokens")
        if type(sent) is int and type(said) is int:
            return sent, said, None, None, None
    inputs = get("prompt_tokens_details") or get("input_tokens_details") or _NOTHING
    outputs = get("completion_tokens_details") or get("output_tokens_details") or _NOTHING
    counts: Sequence[Any] = (
        get("prompt_tokens", get("input_tokens")),
        get("completion_tokens", get("output_tokens")),
        read(inputs, "cached_tokens") or get("cache_read_input_tokens"),
        read(inputs, "cache_creation_tokens") or get("cache_creation_input_tokens"),
        read(outputs, "reasoning_tokens"),
    )
    return [count if type(count) is int else int(count) if isinstance(count, float) else None for count in counts]


def _total(results: Sequence[Any]) -> Sequence[int | None]:
    if len(results) == 1:
        return _tokens_of(results[0].usage)
    totals: list[int | None] = []
    for counts in zip(_UNTOLD, *(_tokens_of(result.usage) for result in results), strict=True):
        known = [count for count in counts if count is not None]
        totals.append(sum(known) if known else None)
    return totals


def _read_answers(result: Any, reasons: list[str]) -> str | None:
    """Add why each choice of a result ended; return the provider's id of the answer."""
    if not result.responses:
        raw = result.raw
        choices = read(raw, "choices")
        reasons += filter(None, map(_finish_reason, choices if isinstance(choices, list | tuple) else ()))
        return _text(read(raw, "id"))
    for response in result.responses:
        if response.finish_reason:
            reasons.append(response.finish_reason)
    return _text(result.responses[0].id)


def _finish_reason(choice: Any) -> str | None:
    return _text(read(choice, "finish_reason"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def asked(call: Any) -> Any:
    """Return what DSPy sends, as plain data with its parameters.

    Args:
        call: DSPy's ``PreparedCall``.
    """
    if call.request is not None:
        as_plain = getattr(sys.modules.get("dspy.clients.execution"), "request_to_dict", None)  # it is private
        return None if as_plain is None else (as_plain(call.request), call.kwargs.get("rollout_id"))
    form = call.legacy.get("response_format")
    # Adapters make that class anew for each call; what is in it stands in their messages, too.
    return {**call.legacy, "response_format": f"{form.__module__}.{form.__qualname__}"} if isinstance(form, type) else call.legacy


# --- content: asked for only where it may be kept -------------------------------------------------------------------------


def input_messages(prompt: Any, messages: Any) -> list[dict[str, Any]] | None:
    """Return a prompt, OpenAI-style messages or a typed request as the conventions want messages on a span."""
    if messages is None and read(prompt, "messages") is not None:
        system = read(prompt, "system")
        told = [{"role": "system", "content": system}] if system else []
        messages = [*told, *read(prompt, "messages")]
    if messages is None:
        return None if prompt is None else [_message("user", prompt)]
    return [_message(read(each, "role"), read(each, "parts") or read(each, "content")) for each in messages]


def output_messages(result: Any) -> list[dict[str, Any]]:
    """Return the candidates of an answer as the conventions want messages on a span."""
    reasons: list[str] = []
    _read_answers(result, reasons)
    outputs = result.outputs or []
    found = []
    for index, output in enumerate(outputs):
        message = _message("assistant", output if isinstance(output, str) else read(output, "text"))
        message["parts"] += [_tool_call(call) for call in (read(output, "tool_calls") or ()) if not isinstance(output, str)]
        if index < len(reasons):
            message["finish_reason"] = reasons[index]
        found.append(message)
    return found


def _message(role: Any, content: Any) -> dict[str, Any]:
    parts = content if isinstance(content, list | tuple) else [] if content is None else [content]
    return {"role": str(role), "parts": [_part(part) for part in parts]}


def _part(part: Any) -> dict[str, Any]:
    text = part if isinstance(part, str) else read(part, "text")
    return {"type": "text", "content": text} if isinstance(text, str) else {"type": str(read(part, "type") or "other")}


def _tool_call(call: Any) -> dict[str, Any]:
    function = read(call, "function")
    return {"type": "tool_call", "id": read(call, "id"), "name": read(function, "name"), "arguments": read(function, "arguments")}
