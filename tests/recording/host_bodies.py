"""The callables of a host program, one function for each kind: what a node's steps are taken in."""

from __future__ import annotations

import contextlib
import types

from agentgauge import agent, track


@types.coroutine
def pause():
    """Give control to whoever drives, as a future does."""
    return (yield "paused")


def plain(world, node, name):
    def body():
        with world.measured(name):
            for step in node.steps:
                world.do(step)
        return name

    return world.decorate(node, name, body)


def coroutine(world, node, name):
    async def body():
        with world.measured(name):
            for step in node.steps:
                await world.do_async(step)
        return name

    return world.decorate(node, name, body)


def method(world, node, name):
    def body(_self):
        with world.measured(name):
            for step in node.steps:
                world.do(step)
        return name

    return _bound(world, world.decorate(node, name, body))


def async_method(world, node, name):
    async def body(_self):
        with world.measured(name):
            for step in node.steps:
                await world.do_async(step)
        return name

    return _bound(world, world.decorate(node, name, body))


def _bound(world, function):
    owner = type("Scout", (), {"work": function})
    return (agent("scout")(owner) if world.is_decorated else owner)().work


def generator(world, node, name):
    def body():
        with world.measured(name):
            for step in node.steps:
                if step[0] == "yield":
                    try:
                        world.see("sent", (yield step))
                    except ValueError as error:
                        world.see("thrown", world.describe(error))
                        if not step[1]:
                            raise
                elif step[0] == "delegate":
                    world.see("delegated", (yield from world.build(step[1])()))
                else:
                    world.do(step)
        return name

    return world.decorate(node, name, body)


def async_generator(world, node, name):
    async def body():
        with world.measured(name):
            for step in node.steps:
                if step[0] == "yield":
                    try:
                        world.see("sent", (yield step))
                    except ValueError as error:
                        world.see("thrown", world.describe(error))
                        if not step[1]:
                            raise
                else:
                    await world.do_async(step)

    return world.decorate(node, name, body)


def tracked(world, node, name):
    def block():
        with track("tracker", name) if world.is_decorated else contextlib.nullcontext() as call:
            with world.measured(name):
                for step in node.steps:
                    world.do(step)
            if call is not None:
                call.record_retry()
                call.set_outcome("success")
        return name

    return block


def tracked_async(world, node, name):
    async def block():
        async with track("tracker", name) if world.is_decorated else contextlib.nullcontext():
            with world.measured(name):
                for step in node.steps:
                    await world.do_async(step)
        return name

    return block


def reported(world, node, name):
    def block():
        desk, task_id = world.desk, next(world.task_ids)
        if desk is not None:
            desk.start_task(task_id, name, 10)
            desk.set_state("processing")
        try:
            with world.measured(name):
                for step in node.steps:
                    world.do(step)
        except BaseException as error:
            if desk is not None:
                desk.fail_task(task_id, error)
            raise
        if desk is not None:
            desk.complete_task(task_id)
            desk.get_health_metrics()
        return name

    return block


CALLABLES = {
    "plain": plain,
    "coroutine": coroutine,
    "method": method,
    "async method": async_method,
    "generator": generator,
    "async generator": async_generator,
    "track": tracked,
    "async track": tracked_async,
    "report": reported,
}
