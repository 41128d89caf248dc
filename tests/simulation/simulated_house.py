"""What the processes of one simulated service share: the clock, the store, the provider and the promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from simulated_database import IDLE_IN_TRANSACTION_S, Store
from simulated_guards import Guard
from simulated_promises import Promises
from simulated_provider import Provider
from simulated_time import Clock, Process, Reply, Steps

if TYPE_CHECKING:
    from simulated_web import Web


class Settings(NamedTuple):
    """Bounds of the service, as in infra/settings.py and the services; orders live two hours here."""

    hold_life_s: float = 60.0
    lease_s: float = 8.0
    attempts_max: int = 3
    order_life_s: float = 7_200.0
    closed_watch_s: float = 3 * 86_400.0
    duty_idr: int = 10_000
    fee_idr: int = 500


class House(Clock):
    """One simulated service without the people. `missing` names the guards that are taken away."""

    def __init__(self, seed: int, *, missing: frozenset[Guard], trace: Callable[[str], None] | None) -> None:
        super().__init__(seed, trace=trace)
        self.missing = missing
        self.settings = Settings()
        self.store = Store(self, missing)
        self.provider = Provider(self)
        self.promises = Promises(self, self.store, self.provider)
        self.store.committed = self.promises.committed
        self.webs: list[Web] = []
        self.key_away_until_s = 0.0

    def has(self, guard: Guard) -> bool:
        """Whether this guard is in place."""
        return guard not in self.missing

    def call(self, verb: Callable[[Web], Steps[Any]], *, wait_s: float) -> Steps[Any]:
        """Send a request from outside to some web process; None when no answer comes within `wait_s`.

        It may be lost, or come twice, the second time much later. Its answer may be lost too.
        """
        reply = Reply()
        drawn = self.random()
        if drawn > 0.03:
            self.spawn(self._deliver(reply, verb), after_s=drawn * 0.1 if drawn < 0.99 else (drawn - 0.99) * 2_000)
        if drawn < 0.06:
            self.spawn(self._deliver(reply, verb), after_s=self.random() ** 3 * 300)
        yield reply.signal, wait_s
        return reply.value

    def _deliver(self, reply: Reply, verb: Callable[[Web], Steps[Any]]) -> Steps[None]:
        web = self.webs[self.chance.randrange(len(self.webs))]
        if web.alive:
            web.spawn(web.serve(reply, verb(web)))
        yield 0.0

    def stop(self, process: Process, for_s: float) -> None:
        """SIGSTOP; the database does not wait for ever for a session that sleeps in a transaction."""
        super().stop(process, for_s)
        if for_s > IDLE_IN_TRANSACTION_S and self.has(Guard.IDLE_END):
            self.spawn(self._end_idle(process), after_s=IDLE_IN_TRANSACTION_S)

    def _end_idle(self, process: Process) -> Steps[None]:
        self.store.end_idle(process)
        yield 0.0
