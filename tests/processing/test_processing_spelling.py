"""A hook whose name is misspelt would never be called: it is named when the class is instantiated."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.processing import EnhancedProcessingInterface, IncompleteClassError
from agentgauge.processing.spelling import distance


class Echo(EnhancedProcessingInterface):
    async def _process(self, input_data, context):
        return input_data


async def _alone(self):
    return None


async def _with_both(self, data, context):
    return True


async def _items(self, input_data, context):
    yield input_data


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("_intialize", _alone, "_initialize"),
        ("_initialise", _alone, "_initialize"),
        ("_initialize_", _alone, "_initialize"),
        ("_inititalise", _alone, "_initialize"),
        ("_intialize", lambda self: None, "_initialize"),
        ("_shut_down", _alone, "_shutdown"),
        ("_shutdwon", _alone, "_shutdown"),
        ("_validate_inputs", _with_both, "_validate_input"),
        ("_validate_inptu", staticmethod(lambda data, context: True), "_validate_input"),
        ("_valdate_ouput", lambda self, data, context: True, "_validate_output"),
        ("_estimate_second", classmethod(lambda cls, data, context: 1), "_estimate_seconds"),
        ("_straem", _items, "_stream"),
        ("_strem", functools.partialmethod(_items), "_stream"),
    ],
)
def test_a_misspelt_hook_is_named_when_the_class_is_instantiated(name, value, meant):
    wrong = type("Wrong", (Echo,), {name: value})
    with pytest.raises(IncompleteClassError, match=rf"^Wrong\.{name} is never called: did you mean {meant}\?.*another name"):
        wrong()
    with pytest.raises(IncompleteClassError, match=rf"^Wrong\.{name} is never called"):
        type("Below", (wrong,), {})()


@pytest.mark.parametrize("name", ["_proces", "_proccess", "_prcoess", "_processs"])
def test_a_misspelt_process_is_named_beside_what_is_lacking(name):
    wrong = type("Wrong", (EnhancedProcessingInterface,), {name: _with_both})
    with pytest.raises(IncompleteClassError, match=rf"^Wrong lacks _process: write `async def _process.*`; it has {name}: did"):
        wrong()
    nothing = type("Nothing", (EnhancedProcessingInterface,), {"_work": _with_both, "_proces": 7})
    with pytest.raises(IncompleteClassError, match=r"^Nothing lacks _process: write `[^`]*`$"):
        nothing()


OWN = {
    "_reinitialize": _alone,  # a word of its own, that has the hook's inside
    "_initializer": _alone,
    "_initialized": _alone,
    "_upstream": _items,
    "_streams_of": _items,
    "_validate_int": lambda self, value: True,  # takes other things
    "_scream": lambda self, text: text,
    "_steal": _items,  # two letters of a short word are another
    "_progress": _with_both,  # the class has its _process
    "_processes": _with_both,
    "_finalize": _alone,
    "_validate": _with_both,
    "_estimate": _with_both,
    "__shutdwon": _alone,
    "intialize": _alone,
    "_shutdow": 7,  # nothing that could be called
    "_shutdwon": property(lambda self: 1),
}


@pytest.mark.parametrize("name", OWN)
def test_a_class_may_have_methods_of_its_own_that_resemble_a_hook(name):
    type("Own", (Echo,), {name: OWN[name]})()


def test_where_the_hook_is_there_what_resembles_it_is_the_classs_own():
    class Both(Echo):
        async def _initialize(self):
            await self._initialise()

        async def _initialise(self):
            pass

    Both()
    type("Below", (Both,), {})()


def test_what_a_class_takes_over_from_others_is_theirs():
    class Service:
        async def _shut_down(self):
            pass

    class Mixed(Service, Echo):
        pass

    Mixed()


WORDS = st.text("abc", max_size=6)


@given(WORDS, WORDS, WORDS)
def test_the_distance_of_words_is_one_for_each_letter_too_many_too_few_or_wrong_and_for_each_two_in_the_wrong_order(
    one, other, end
):
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) == distance(one[::-1], other[::-1]) == distance(one + end, other + end)
    assert abs(len(one) - len(other)) <= distance(one, other) <= max(len(one), len(other))
    assert distance(one + "xy" + other, one + "yx" + other) == 1
    assert distance(one + "x" + other, one + other) == distance(one + "x" + other, one + "y" + other) == 1
    assert (distance(one, other) == 0) == (one == other)
