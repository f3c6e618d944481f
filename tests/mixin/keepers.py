"""What keeps a program up, at work in real time: a health monitor, circuit breakers, recoveries, and a desk that refuses work."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from agentgauge.breaker import CircuitBreaker, CountWindow
from agentgauge.health import ComponentType, Finding, Status, SystemHealthMonitor
from agentgauge.recovery import AlertReceiver, Backoff, Budget, Call, Failure, Recoveries, Recovery
from scenarios.acts_reliability import Desk, Part, call

if TYPE_CHECKING:
    from types import TracebackType

    from agentgauge.notification import Notification

_TOKEN = "of-nobody-since-nobody-asks"


class Gateway(Part):
    """A component that goes to and fro, from one check to the next, while it is told to."""

    is_troubled = False

    def check(self) -> Finding:
        """Find it as it was not found before."""
        is_worse = self.is_troubled and self.status is Status.HEALTHY
        self.status = Status.WARNING if is_worse else Status.HEALTHY
        return super().check()


class Keepers:
    """All of them, in one program; to be entered on its event loop.

    Args:
        interval_seconds: From one check of a component to the next.
    """

    def __init__(self, interval_seconds: float) -> None:
        def part(kind: type[Part], name: str, component_type: ComponentType) -> Part:
            return kind(name, component_type, interval_seconds=interval_seconds)

        self._database = part(Part, "database", ComponentType.DATABASE)
        self._cache = part(Part, "cache", ComponentType.CACHE)
        self._gateway = part(Gateway, "gateway", ComponentType.NETWORK)
        self._guess = part(Part, "guess", ComponentType.AGENT)
        self._monitor = SystemHealthMonitor([self._database, self._cache, self._gateway, self._guess])
        self._monitor.add_alert_handler(self.told)
        self._models = CircuitBreaker("models", window=CountWindow(10), open_seconds=1, slow_call_seconds=1)
        self._repair = CircuitBreaker("repair")
        self._desk = Desk()
        at_once = {"verify_seconds": 0, "backoff": Backoff(first_seconds=0, longest_seconds=0)}
        self._recoveries = Recoveries(
            [
                Recovery(component="pool", actions=(Call("reconnect", lambda: None),), check=lambda: True, **at_once),
                Recovery(
                    component="index",
                    actions=(Call("rebuild", lambda: None),),
                    check=lambda: False,
                    budget=Budget(attempts=1),
                    **at_once,
                ),
            ]
        )
        self._receiver = AlertReceiver(self._recoveries, bearer_token=_TOKEN)
        self._is_troubled = False

    async def __aenter__(self) -> Self:
        await self._monitor.start_monitoring()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._monitor.stop_monitoring()
        await asyncio.to_thread(self._recoveries.close)

    def told(self, _notification: Notification) -> None:
        """Take what the monitor tells, or raise while there is trouble."""
        if self._is_troubled:
            raise ConnectionError("planted")

    async def work(self, *, is_troubled: bool) -> None:
        """Do a little of everything, of which in trouble much fails."""
        self._is_troubled = self._gateway.is_troubled = is_troubled
        self._database.status = Status.DOWN if is_troubled else Status.HEALTHY
        self._cache.status = Status.WARNING if is_troubled else Status.HEALTHY
        self._guess.status = Status.UNKNOWN if is_troubled else Status.HEALTHY
        call(self._models, badly=5 if is_troubled else 0, well=2)
        if is_troubled:
            self._repair.open()
        await self._desk.serve(answered=2, refused=1 if is_troubled else 0)
        if is_troubled:
            await asyncio.to_thread(self._recover)

    def _recover(self) -> None:
        for component in ("pool", "index"):
            failure = Failure(component=component, condition="refused", started_at=time.time())
            self._recoveries.recover(failure)
            self._recoveries.end(failure.identity)
