"""What a program can observe of a callable and of the class that holds it: to be compared with agentgauge and without."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import inspect
import multiprocessing
import pickle
import re
import typing
from concurrent.futures import ProcessPoolExecutor

import callable_library
import cloudpickle
import dspy
from callable_shapes import finish

from agentgauge.recording.site import SITE_ATTRIBUTE
from agentgauge.testing import isolated

DISABLED = "AGENTGAUGE_DISABLED"

PREDICATES = [
    getattr(inspect, name) for name in dir(inspect) if name.startswith("is") and name not in {"isabstract", "iskeyword"}
]

COPIES = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, 0)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

FUNCTIONS = [
    "plain",
    "coroutine",
    "generator",
    "async_generator",
    "overloaded",
    "cached",
    "cache_outside",
    "dispatching",
    "dispatch_outside",
    "block",
    "block_outside",
    "async_block",
    "async_block_outside",
    "validated",
]
METHODS = [
    "Desk.method",
    "Desk.coroutine_method",
    "Desk.generator_method",
    "Desk.async_generator_method",
    "Desk.static",
    "Desk.static_outside",
    "Desk.of_class",
    "Desk.class_outside",
    "Desk.size",
    "Desk.property_outside",
    "Desk.cached_method",
    "Desk.dispatching_method",
    "Desk.overloaded_method",
    "Desk.block_method",
    "Desk.block_method_outside",
    "Desk.__call__",
    "SpecialDesk.method",
    "SpecialDesk.coroutine_method",
    "SpecialDesk.of_class",
    "Card.grow",
    "Slip.grow",
    "Worker.rest",
    "Clerk.work",
    "Book.read",
    "Form.fill",
    "Program.forward",
    "Program.aforward",
]
PATHS = FUNCTIONS + METHODS
CLASSES = "what the classes do"

BECOMES_A_FUNCTION = {"cached", "cache_outside", "Desk.cached_method"}
"""What was an object of another type: it is a function once it is instrumented, and pickled, copied and bound like one."""


def load_library(monkeypatch, *, is_decorated):
    """Return the library, run anew: every child process that is started while ``monkeypatch`` lasts gets the same one."""
    monkeypatch.setenv(DISABLED, "false" if is_decorated else "true")
    module = importlib.reload(callable_library)
    assert hasattr(module.plain, SITE_ATTRIBUTE) is is_decorated
    return module


def all_facts(module):
    """Return, by path, what can be seen of every callable of ``module``, and of its classes, as text that has no addresses."""
    facts = {path: callable_facts(module, path) for path in PATHS} | {CLASSES: class_facts(module)}
    return {path: {label: as_text(value) for label, value in seen.items()} for path, seen in facts.items()}


def as_text(value):
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def callable_facts(module, path):
    owner_name, _, name = path.rpartition(".")
    owner = getattr(module, owner_name) if owner_name else module
    instance = make(owner) if owner_name else module
    arguments = arguments_of(owner_name, name)
    raw = inspect.getattr_static(owner, name)
    if isinstance(raw, property):
        return property_facts(owner, instance, name)
    facts = {}
    for where, holder in (("of class", owner), ("of instance", instance)):
        subject = getattr(holder, name)
        facts |= {
            f"signature {where}": str(inspect.signature(subject)),
            f"hints {where}": outcome(typing.get_type_hints, subject, owner.__dict__ if owner is module else vars(module)),
            f"documentation {where}": inspect.getdoc(subject),
            f"names {where}": [getattr(subject, key, None) for key in ("__name__", "__qualname__", "__module__")],
            f"is the same each time {where}": subject is getattr(holder, name),
            f"is equal each time {where}": subject == getattr(holder, name),
            f"hash is equal each time {where}": hash(subject) == hash(getattr(holder, name)),
            f"source {where}": inspect.getsource(subject),
            f"overloads {where}": len(typing.get_overloads(subject)),
            f"kind {where}": [type(subject).__name__, *(predicate(subject) for predicate in PREDICATES)],
        }
    facts["attributes"] = [key for key in dir(getattr(owner, name)) if not key.startswith("_")]
    facts["kind of what lies in the class"] = [type(raw).__name__, *(predicate(raw) for predicate in PREDICATES)]
    bound = getattr(instance, name)
    facts["what a call returns"] = type(bound(*arguments)).__name__ if not inspect.iscoroutinefunction(bound) else "coroutine"
    for label, call in call_ways(arguments).items():
        facts[f"a call with {label}"] = outcome(call, bound)
    for label, duplicate in COPIES.items():
        facts[f"{label} of class"] = outcome(same_or_not, duplicate, getattr(owner, name))
        facts[f"{label} of instance"] = outcome(lambda duplicate=duplicate: finish(duplicate(bound)(*arguments)))
    if path in BECOMES_A_FUNCTION:
        facts = {label: value for label, value in facts.items() if not label.startswith("kind ")}
    return facts


def property_facts(owner, instance, name):
    raw = inspect.getattr_static(owner, name)
    return {
        "type": type(raw).__name__,
        "documentation": inspect.getdoc(raw),
        "hints": typing.get_type_hints(raw.fget),
        "names": (raw.fget.__name__, raw.fget.__qualname__),
        "value": getattr(instance, name),
        "of the class": getattr(owner, name) is raw,
        "set": outcome(setattr, instance, name, 5),
        "value then": getattr(instance, name),
        "deleted": outcome(delattr, instance, name),
    }


def call_ways(arguments):
    return {
        "its arguments": lambda bound: finish(bound(*arguments)),
        "another argument": lambda bound: finish(bound(*arguments, 7)),
        "a keyword": lambda bound: finish(bound(*arguments, limit=7)),
        "nothing": lambda bound: finish(bound()),
        "too much": lambda bound: finish(bound(*arguments, 1, 2, 3, 4)),
        "an unknown keyword": lambda bound: finish(bound(*arguments, unknown=1)),
        "an argument twice": lambda bound: finish(bound(*arguments, question="twice", size=1)),
    }


def class_facts(module):
    desk, card, slip, form, program = (make(getattr(module, name)) for name in ("Desk", "Card", "Slip", "Form", "Program"))
    facts = {}
    for label, duplicate in COPIES.items():
        facts |= {
            f"{label} of a desk": outcome(lambda duplicate=duplicate: duplicate(desk).method("why")),
            f"{label} of a card": outcome(lambda duplicate=duplicate: duplicate(card).grow(2)),
            f"{label} of a slip": outcome(lambda duplicate=duplicate: duplicate(slip).grow(2)),
            f"{label} of a form": outcome(lambda duplicate=duplicate: duplicate(form).fill(2)),
            f"{label} of a program": outcome(lambda duplicate=duplicate: duplicate(program)(question="why")),
            f"{label} of a class": duplicate(module.Desk) is module.Desk,
        }
    return facts | {
        "members": {name: member_kinds(getattr(module, name)) for name in ("Desk", "Card", "Slip", "Worker", "Reader", "Form")},
        "super": module.SpecialDesk().method("why"),
        "inherited of class": module.SpecialDesk.of_class("why"),
        "overridden": module.SpecialDesk.method is module.Desk.method,
        "not overridden": module.SpecialDesk.static is module.Desk.static,
        "of a class by its instance": module.Desk.method(desk, "why"),
        "by kind": [desk.dispatching_method("why"), desk.dispatching_method(4), module.dispatching("why"), module.dispatching(4)],
        "in kind": [desk.overloaded_method(1), module.overloaded("why")],
        "partial": functools.partial(desk.method, limit=9)("why"),
        "cards": (card, hash(card), card < card.grow(), dataclasses.asdict(card), outcome(setattr, card, "size", 2)),
        "fields": [field.name for field in dataclasses.fields(module.Slip)],
        "slots": (module.Slip.__slots__, hasattr(slip, "__dict__")),
        "abstract": (sorted(module.Worker.__abstractmethods__), outcome(module.Worker), module.Clerk().work(2)),
        "abstract still": outcome(type("Idle", (module.Worker,), {})),
        "protocol": (isinstance(module.Book(), module.Reader), isinstance(module.Clerk(), module.Reader)),
        "form": (form.model_dump(), module.Form(size=4) == module.Form(size=4), form.model_copy(update={"size": 9}).fill()),
        "form schema": (module.Form.model_json_schema(mode="serialization"), sorted(module.Form.model_fields)),
        "refused form": outcome(module.Form, size=-1),
        "validated": [module.validated("why", limit="7"), outcome(module.validated, "why", limit="many")],
        "program": (program(question="why"), [name for name, _ in program.named_predictors()], program.dump_state()),
        "program, later": finish(program.acall(question="why")),
        "tool": tool_facts(module.overloaded),
        "cache": cache_facts(module.cached),
        "cache outside": cache_facts(module.cache_outside),
    }


def member_kinds(owner):
    members = {f"{owner.__name__}.{name}": type(value).__name__ for name, value in vars(owner).items() if name[:2] != "__"}
    return [(path, kind) for path, kind in members.items() if path not in BECOMES_A_FUNCTION]


def tool_facts(function):
    tool = dspy.Tool(function)
    return tool.name, tool.desc, tool.args, tool(question="why")


def cache_facts(function):
    function.cache_clear()
    same = function("why") is function("why")
    return same, function.cache_info(), function.cache_parameters()


def make(owner):
    name = owner.__name__
    if name == "Worker":
        return owner.__subclasses__()[0]()
    return owner(size=3) if name in {"Card", "Form"} else owner()


def arguments_of(owner_name, name):
    if owner_name in {"", "Desk", "SpecialDesk", "Program"}:
        return ("why",)
    return (2,)


def library_calls(module):
    """Return callables of every kind that pickle can take to another process, with their arguments."""
    paths = [path for path in PATHS if path not in {"Desk.size", "Desk.property_outside", "Desk.dispatching_method"}]
    calls = []
    for path in paths:
        owner_name, _, name = path.rpartition(".")
        holder = make(getattr(module, owner_name)) if owner_name else module
        calls.append((getattr(holder, name), arguments_of(owner_name, name)))
    return calls


def run_calls(calls):
    """Return what the calls return, as text, and how many were recorded."""
    with isolated() as fresh:
        results = [as_text(outcome(lambda: finish(call(*arguments)))) for call, arguments in calls]  # noqa: B023 - called here
        return results, fresh.value("agentgauge_events_recorded_total")


def run_in_process(method, calls):
    """Do ``run_calls`` in a process that is started by ``method``."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(run_calls, calls).result(timeout=120)


def same_or_not(duplicate, subject):
    copied = duplicate(subject)
    return copied is subject, copied == subject


def outcome(function, *args, **kwargs):
    """Return what a call returns, or what it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)
