"""What an account may get at tills and by vouchers: it counts with what it orders, towards the same units of a day.

A limit on orders alone would be none: whoever buys for resale would go to a counter. Decided before anything moves, so
a sale that does not fit takes nothing from the stock, and a voucher that does not fit stays whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from emeterai.accounts.groups_buying import groups_counted_with
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Connection
from emeterai.infra.settings import Settings
from emeterai.purchase.limits import RECEIVED, UNITS_OF_ORDER, BuyingLimits, IsPartner, again, count_lately, limits_of

VOUCHER_LIMIT_REACHED = RefusalKind(
    "voucher_limit_reached",
    429,
    "Dalam 24 jam satu akun dapat memperoleh sampai {units_max} meterai, dan Anda sudah memesan atau menerima "
    "{units_had}. Voucer Anda tetap utuh dan berlaku; tukarkan setelah {again_at}.",
    "In 24 hours one account can get up to {units_max} stamps, and you have ordered or received {units_had}. "
    "Your voucher stays whole and good; redeem it after {again_at}.",
)

UnitsLeft = Callable[[Connection, Mapping[UUID, int]], Awaitable[Mapping[UUID, int]]]
"""Of people who are to get so many units: how many each may get now. Whoever is not named may get any number."""
PartnersAmong = Callable[[Connection, Sequence[UUID]], Awaitable[Mapping[UUID, bool]]]
"""Those of some accounts that are partners' own, and whether each may sell at this moment."""
CheckVoucher = Callable[[Connection, UUID, int], Awaitable[None]]
"""Raises why an account may not redeem so many units now."""


async def any_number(_connection: Connection, _wanted: Mapping[UUID, int], /) -> Mapping[UUID, int]:
    """No limits: for whoever sells outside the service."""
    return {}


async def any_voucher(_tx: Connection, _account_id: UUID, _units: int, /) -> None:
    """No limits: for whoever redeems outside the service."""


async def no_partners(_connection: Connection, _accounts: Sequence[UUID], /) -> Mapping[UUID, bool]:
    """Nobody sells: for whoever only redeems."""
    return {}


class UnitsReceived:
    """The limits of the settings on units that reach accounts without an order of theirs."""

    def __init__(
        self, settings: Settings, *, is_partner: IsPartner, partners_among: PartnersAmong = no_partners
    ) -> None:
        self._settings = settings
        self._is_partner = is_partner
        self._partners_among = partners_among
        self._person_max = BuyingLimits.of(settings, is_organisation=False).units_a_day
        self._organisation_max = BuyingLimits.of(settings, is_organisation=True).units_a_day

    async def left(self, connection: Connection, wanted: Mapping[UUID, int]) -> dict[UUID, int]:
        """How many units each of these people may still get today, where `wanted` is what they are to get now.

        Below zero where somebody has more than he might get today.

        Their balances are locked, where it is more than a look. A group that staff have not approved counts with its
        founder; whoever sells for the issuer has the limit of organisations. Whoever may have given units away is
        always counted exactly.
        """
        people = list(wanted)
        groups, partners = await groups_counted_with(connection, people), await self._partners_among(connection, people)
        pairs = [*((person, person) for person in people), *groups]
        left = await self._left(connection, _HAD_AT_MOST, pairs)
        near = {person for person, units in wanted.items() if left[person] < units}
        near |= {founder for founder, _ in groups} | partners.keys()
        left.update(await self._left(connection, _HAD, [pair for pair in pairs if pair[0] in near]))
        for person, is_active in partners.items():
            left[person] += (self._organisation_max - self._person_max) * is_active
        return left

    async def _left(self, connection: Connection, had: str, pairs: Sequence[tuple[UUID, UUID]]) -> dict[UUID, int]:
        """What is left of a person's units of a day; `pairs` are people, each with every account that counts."""
        if not pairs:
            return {}
        rows = await connection.fetch(had, [person for person, _ in pairs], [account for _, account in pairs])
        return {row["person"]: self._person_max - row["units"] for row in rows}

    async def check_voucher(self, tx: Connection, account_id: UUID, units: int) -> None:
        """Decide whether an account may get the units of a voucher, with the balances of `locks_of_buyer` locked.

        Somebody has paid for it: on a day on which nothing else came any voucher fits. Raises `voucher_limit_reached`.
        """
        limits, accounts = await limits_of(tx, account_id, settings=self._settings, is_partner=self._is_partner)
        units_max = max(limits.units_a_day, units)
        row = await count_lately(tx, accounts, limits, units_max=units_max, arriving=units)
        if row["units_a_day"] > units_max:
            raise VOUCHER_LIMIT_REACHED(
                units_max=limits.units_a_day, units_had=row["units_a_day"] - units, **again(row, "day")
            )


_HAD_WITH = """
    SELECT pairs.person, sum(ordered.units + received.units)::bigint AS units
    FROM unnest($1::uuid[], $2::uuid[]) AS pairs(person, account)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum({units_of_order}), 0) AS units FROM purchase.orders
        WHERE account_id = pairs.account AND created_at > now() - interval '24 hours'
    ) AS ordered CROSS JOIN LATERAL ({received}) AS received
    GROUP BY pairs.person
"""
_HAD = _HAD_WITH.format(
    units_of_order=UNITS_OF_ORDER,
    received="SELECT coalesce(sum(amount), 0) AS units FROM ledger.transfers "
    f"WHERE credit = pairs.account AND {RECEIVED}",
)
_HAD_AT_MOST = _HAD_WITH.format(
    units_of_order=UNITS_OF_ORDER,
    received="SELECT coalesce(sum(bought), 0) AS units FROM ledger.balances WHERE account = pairs.account",
)
"""All that ever came to an account in place of what came today: nearly everybody is below the limit by that already,
and the balance is at hand. (What an account passes on leaves its balance, which then says less than came. Only
organisations pass on what they bought: partners, stopped ones too, and groups while they are approved. So partners, and
the founders of groups that are not approved any more or never were, are always counted exactly.)"""
