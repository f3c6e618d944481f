"""Restarts of what runs in the program: a task, a thread, a subprocess."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from agentgauge.errors import ConfigurationError
from agentgauge.recovery.actions import Note, require_function
from agentgauge.requirements import require_name, require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

    from agentgauge.recovery.failure import Failure

__all__ = ["RestartSubprocess", "RestartTask", "RestartThread"]


class RestartTask:
    """Cancels an ``asyncio.Task``, waits until it has ended, and starts it anew on the same loop.

    Args:
        factory: A coroutine function without parameters: what the task does.
        stop_seconds: How long a cancelled task may take to end. One that takes longer is left behind, and told of.
        name: What the action, and the task, is called.
    """

    def __init__(
        self, factory: Callable[[], Coroutine[Any, Any, object]], *, stop_seconds: float = 10.0, name: str = "restart_task"
    ) -> None:
        require_function("factory", factory)
        require_seconds("stop_seconds", stop_seconds, "10")
        require_name("name", name, "restart_task")
        self.name = name
        self.task: asyncio.Task[object] | None = None
        self._context: contextvars.Context | None = None
        self._factory = factory
        self._stop_seconds = stop_seconds

    def start(self) -> asyncio.Task[object]:
        """Start the task on the loop that runs here; the loop keeps only a weak reference to it, this a strong one.

        The first start is the program's: in its context, also a task that is started anew runs, which is no part of the trace of
        the recovery that did so.
        """
        if self._context is None:
            self._context = contextvars.copy_context()
        context = self._context.copy()
        self.task = asyncio.get_running_loop().create_task(context.run(self._factory), name=self.name, context=context)
        return self.task

    async def run(self, failure: Failure) -> Note:  # noqa: ARG002 - what every action is given
        """Restart the task, from whatever loop."""
        if self.task is None:
            raise RuntimeError("the task was never started: call start() on the program's loop first")
        home = self.task.get_loop()
        if home is asyncio.get_running_loop():
            return await self._restart(self.task)
        if not home.is_running():
            raise RuntimeError("the loop of the task does not run any more")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._restart(self.task), home))

    async def _restart(self, task: asyncio.Task[object]) -> Note:
        note = ""
        if not task.done():
            task.cancel()
            _, late = await asyncio.wait([task], timeout=self._stop_seconds)
            if late:
                note = f"the task did not end within {self._stop_seconds} s of its cancellation and was left behind"
        if task.done() and not task.cancelled():
            task.exception()  # it was seen: asyncio need not complain that nobody did
        self.start()
        return Note(note)


class RestartThread:
    """Asks a thread to stop, waits until it has, and starts another.

    A thread cannot be ended from outside: one that does not listen is left behind, and told of.

    Args:
        target: What the thread does, given the ``threading.Event`` that asks it to stop; each thread has one of its own.
        stop_seconds: How long a thread that was asked to stop may take.
        name: What the action, and the thread, is called.
    """

    def __init__(
        self, target: Callable[[threading.Event], object], *, stop_seconds: float = 10.0, name: str = "restart_thread"
    ) -> None:
        require_function("target", target)
        require_seconds("stop_seconds", stop_seconds, "10")
        require_name("name", name, "restart_thread")
        self.name = name
        self.thread: threading.Thread | None = None
        self._target = target
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._left: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    @property
    def left_behind(self) -> int:
        """How many threads were asked to stop and have not."""
        return sum(thread.is_alive() for thread in list(self._left))

    def start(self) -> threading.Thread:
        """Start a thread; it is a daemon, so that it does not keep the program from ending."""
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._target, args=(self._stopping,), name=self.name, daemon=True)
        self.thread.start()
        return self.thread

    def stop(self) -> bool:
        """Ask the thread to stop, and wait for it; tell whether it has."""
        self._stopping.set()
        thread = self.thread
        if thread is None or not thread.is_alive():
            return True
        thread.join(self._stop_seconds)
        return not thread.is_alive()

    def run(self, failure: Failure) -> Note:  # noqa: ARG002 - what every action is given
        """Restart the thread."""
        note = ""
        if not self.stop() and self.thread is not None:
            self._left.add(self.thread)
            note = f"the thread did not stop within {self._stop_seconds} s and was left behind; {self.left_behind} are"
        self.start()
        return Note(note)


class RestartSubprocess:
    """Ends a subprocess with all that it started, by SIGTERM and then by SIGKILL, and starts it anew.

    The subprocess is the program's: neither ``Recoveries.close()`` nor the end of the program ends it. ``stop()`` does, or a
    ``with`` block, which starts it, ends it, and lets none be started after.

    Args:
        command: The program and its arguments, as ``subprocess.Popen`` takes them; it is not shown anywhere, since arguments can
            be secrets.
        stop_seconds: From SIGTERM to SIGKILL.
        settle_seconds: How long after it was started anew it is watched: where it exits meanwhile with another status than 0, the
            action has failed.
        name: What the action is called.
        **options: For ``subprocess.Popen``, such as ``cwd``, ``env`` and ``stdout``; ``stdin`` is ``subprocess.DEVNULL`` unless
            given, and ``start_new_session`` is always set.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stop_seconds: float = 10.0,
        settle_seconds: float = 0.5,
        name: str = "restart_subprocess",
        **options: Any,
    ) -> None:
        if isinstance(command, str) or not command or not all(isinstance(part, str | os.PathLike) for part in command):
            raise ConfigurationError("command: give a list of a program and its arguments, such as [sys.executable, 'agent.py']")
        require_seconds("stop_seconds", stop_seconds, "10")
        require_seconds("settle_seconds", settle_seconds, "0.5", may_be_zero=True)
        require_name("name", name, "restart_subprocess")
        self.name = name
        self.process: subprocess.Popen[Any] | None = None
        self._command = tuple(command)
        self._stop_seconds = stop_seconds
        self._settle_seconds = settle_seconds
        self._over = threading.Event()
        # a group of its own, to be ended as one
        self._options = {"stdin": subprocess.DEVNULL, **options, "start_new_session": True}

    def start(self) -> subprocess.Popen[Any]:
        """Start the subprocess, and do not wait for it.

        Raises:
            OSError: The command cannot be started.
            RuntimeError: The ``with`` block is over.
        """
        if not self._over.is_set():
            self.process = process = subprocess.Popen(self._command, **self._options)  # noqa: S603 - the program's own command
            if not self._over.is_set():  # looked at again: of this and the end of the block, one sees the other
                return process
            self.stop()
        raise RuntimeError("it was ended for good, by the end of its with block")

    def stop(self) -> bool:
        """End the subprocess and its children; tell whether SIGTERM was enough."""
        process = self.process
        if process is None:
            return True
        is_ended = process.poll() is not None
        if not is_ended:
            _signal(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(self._stop_seconds)
                is_ended = True
        _signal(process, signal.SIGKILL)  # what it started may outlive it
        process.wait()
        return is_ended

    def run(self, failure: Failure) -> Note:  # noqa: ARG002 - what every action is given
        """Restart the subprocess, and see for ``settle_seconds`` that it goes on."""
        before = self.process
        note = "" if before is None or before.poll() is None else f"the one before had {_ending(before)}"
        if not self.stop():
            note = f"the subprocess did not end within {self._stop_seconds} s of SIGTERM and was killed"
        process = self.start()
        with suppress(subprocess.TimeoutExpired):
            if process.wait(self._settle_seconds) != 0:
                self.stop()  # what it started
                raise RuntimeError(f"{_ending(process)} at once")
            note = ", ".join(filter(None, (note, f"{_ending(process)} at once")))
        return Note(note)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it, for good."""
        self._over.set()
        self.stop()


def _ending(process: subprocess.Popen[Any]) -> str:
    status = process.returncode
    return f"exited with status {status}" if status >= 0 else f"been ended by signal {-status}"


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    if process.returncode is not None and _is_there(process.pid):
        return  # its number is another's by now, or, in a forked child, it is the parent's
    with suppress(ProcessLookupError, PermissionError):  # all of the group have ended; on macOS the last may be a zombie
        os.killpg(process.pid, number)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
