"""People: they click twice, send again, use another key, change their mind, vanish, buy too little and pay too late."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from simulated_house import House
from simulated_rows import DocumentRow, File, FileKind, OrderRow, StampRow
from simulated_time import Steps
from simulated_web import DOCUMENT_REFUSED, IDEMPOTENCY_KEY_REUSED, Asked, Web, stamp_request

from emeterai.core.refusal import Refused
from emeterai.core.stamping import StampState

OPEN_FROM_S, OPEN_UNTIL_S = 7 * 3600.0, 22 * 3600.0
TRIES_MAX = 5
_KINDS = [FileKind.GOOD] * 92 + [FileKind.REFUSED] * 3 + [FileKind.NOT_SEALABLE] * 2
_KINDS += [FileKind.KILLS_INSPECTION] + [FileKind.KILLS_SEALING] * 2


class Person:
    """One account and its habits."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.account = house.new_id()
        self.files: list[File] = []

    def live(self, wishes: int, rush_s: float) -> None:
        """One day: half of the wishes come within two minutes of the rush, the others at any time."""
        house = self.house
        house.spawn(self._buy(), after_s=OPEN_FROM_S)
        for _ in range(wishes):
            in_rush = house.random() < 0.5
            at_s = rush_s + house.random() * 120 if in_rush else self._any_time_s()
            house.spawn(self._wish(self._choose_file()), after_s=at_s)
        if house.random() < 0.3:
            house.spawn(self._return_units(), after_s=self._any_time_s())

    @property
    def _is_open(self) -> bool:
        return self.house.now_s % 86_400 < OPEN_UNTIL_S

    def _any_time_s(self) -> float:
        return OPEN_FROM_S + self.house.random() * (OPEN_UNTIL_S - OPEN_FROM_S)

    def _choose_file(self) -> File:
        """A new file, or in a quarter of the cases one that was sent before."""
        chance = self.house.chance
        if self.files and chance.random() < 0.25:
            return self.files[chance.randrange(max(0, len(self.files) - 6), len(self.files))]
        self.files.append(File(chance.randbytes(8), _KINDS[chance.randrange(len(_KINDS))]))
        return self.files[-1]

    def _wish(self, file: File, depth: int = 0) -> Steps[None]:
        house = self.house
        key = house.new_id() if house.random() < 0.7 else None
        additional = len(self.files) > 1 and house.random() < 0.1
        if additional:
            key = key or house.new_id()
        house.promises.wished(self.account, file.digest, key if additional else None)
        document = yield from self._send(file)
        if document is None:
            return
        if house.random() < 0.3:
            yield house.random() * 120
        if house.random() < 0.2:
            house.spawn(self._click(document, key, additional), after_s=house.random() * 0.3)
        if house.random() < 0.1:
            house.spawn(self._other_phone(file), after_s=house.random() * 0.5)
        stamp = yield from self._ask(document, key, additional)
        if stamp is not None:
            stamp = yield from self._follow(stamp)
            if stamp.state is StampState.GIVEN_BACK and house.random() < 0.5 and depth < 3 and self._is_open:
                yield from self._wish(file, depth + 1)

    def _send(self, file: File) -> Steps[DocumentRow | None]:
        for _ in range(TRIES_MAX):
            document = yield from self.house.call(lambda web: web.receive(self.account, file), wait_s=5.0)
            if isinstance(document, DocumentRow):
                return document
        return None

    def _other_phone(self, file: File) -> Steps[None]:
        """The same file at the same time, sent by itself and with a key of its own."""
        document = yield from self._send(file)
        if document is not None:
            yield from self._ask(document, self.house.new_id(), additional=False)

    def _asking(
        self, document: DocumentRow, page: int, key: UUID | None, additional: bool
    ) -> Callable[[Web], Steps[Asked]]:
        """The request for a stamp, as whichever web process gets it takes it."""
        return lambda web: web.ask(self.account, document.id, page, key, additional)

    def _click(self, document: DocumentRow, key: UUID | None, additional: bool) -> Steps[None]:
        """The same button once more."""
        answer = yield from self.house.call(self._asking(document, 1, key, additional), wait_s=20.0)
        if isinstance(answer, StampRow):
            self.house.promises.told(answer, key=key, request=stamp_request(document.file.digest, 1, additional))

    def _ask(self, document: DocumentRow, key: UUID | None, additional: bool) -> Steps[StampRow | None]:
        """Ask until there is an answer, or the patience is over."""
        house, page = self.house, 1
        digest = document.file.digest
        for _ in range(TRIES_MAX):
            asking = self._asking(document, page, key, additional)
            answer = yield from house.call(asking, wait_s=1 + house.random() * 20)
            house.say(self.name, "asked for", digest, "key", key, "and hears", _heard(answer))
            if isinstance(answer, StampRow):
                house.promises.told(answer, key=key, request=stamp_request(digest, page, additional))
                return answer
            if answer in {DOCUMENT_REFUSED, IDEMPOTENCY_KEY_REUSED} or not self._is_open:
                return None
            if isinstance(answer, Refused):
                yield from self._buy()
            drawn = house.random()
            if drawn < 0.1:
                return None
            if drawn < 0.2 and key is not None:
                page += 1
            elif drawn < 0.35:
                key = house.new_id()
                house.promises.wished(self.account, digest, key if additional else None)
            yield house.random() * 5
        return None

    def _follow(self, stamp: StampRow) -> Steps[StampRow]:
        """Look until it has ended, and perhaps once more hours later."""
        house = self.house
        for _ in range(TRIES_MAX):
            if stamp.state is not StampState.HELD or house.random() < 0.05:
                break
            stamp = yield from self._look(stamp)
        house.say(self.name, "sees", stamp.id, stamp.state.value)
        if house.random() < 0.3 and self._is_open:
            house.spawn(self._look_again(stamp), after_s=house.random() * 7_200)
        return stamp

    def _look(self, stamp: StampRow) -> Steps[StampRow]:
        found = yield from self.house.call(lambda web: web.look(stamp.id, 10.0), wait_s=15.0)
        if isinstance(found, StampRow):
            self.house.promises.told(found)
            return found
        return stamp

    def _look_again(self, stamp: StampRow) -> Steps[None]:
        yield from self._look(stamp)

    def _buy(self) -> Steps[None]:
        """Make an order, perhaps give it up, pay it now, late or never, and wait a little for the quota."""
        house = self.house
        key, quantity = house.new_id(), 1 + house.chance.randrange(10)
        order = None
        for _ in range(3):
            order = yield from house.call(lambda web: web.shop.create(self.account, key, quantity), wait_s=8.0)
            if isinstance(order, OrderRow) and order.reference is not None:
                break
        if not isinstance(order, OrderRow) or order.reference is None:
            return
        order_id = order.id
        if house.random() < 0.08:
            yield from house.call(lambda web: web.shop.cancel(order_id), wait_s=5.0)
        drawn = house.random()
        if drawn > 0.9:
            return
        if drawn < 0.8:
            yield drawn * 60
            house.spawn(house.provider.pay(order_id))
        else:
            house.spawn(house.provider.pay(order_id), after_s=house.random() * 9_000)
        yield house.random() * 60

    def _return_units(self) -> Steps[None]:
        """Return unused units; the same request again until it is answered."""
        house = self.house
        transfer_id, amount = house.new_id(), 1 + house.chance.randrange(2)
        for _ in range(TRIES_MAX):
            answer = yield from house.call(lambda web: web.return_units(self.account, transfer_id, amount), wait_s=5.0)
            if answer is not None and not isinstance(answer, str):
                return


def _heard(answer: object) -> object:
    if isinstance(answer, StampRow):
        return f"{answer.state.value} {answer.serial}"
    return answer.code if isinstance(answer, Refused) else answer or "nothing"
