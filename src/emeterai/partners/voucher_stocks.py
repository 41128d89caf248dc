"""Of which stocks somebody may make vouchers: a partner's own, or the account of an organisation that he oversees.

Nobody makes them of a person's quota: that would be a way to sell it on to strangers. For the same reason a group makes
none until staff have approved it: anybody may found one.
"""

from __future__ import annotations

from collections.abc import Sequence

from emeterai.accounts.groups_buying import is_approved
from emeterai.accounts.model import Caller
from emeterai.core.refusal import Refused
from emeterai.infra.database import Connection, Database
from emeterai.partners.model import PartnerState
from emeterai.partners.service import PARTNER_ONLY, Partners
from emeterai.purchase.voucher_model import Stock
from emeterai.purchase.voucher_selling import StocksOf


def voucher_stocks(partners: Partners) -> StocksOf:
    """What `Vouchers` asks."""

    async def stocks_of(caller: Caller, connection: Connection | Database) -> Sequence[Stock]:
        if caller.acting is not None:
            return await _of_group(caller, connection)
        try:
            partner = await partners.of_account(caller.account_id, within=connection)
        except Refused as refused:
            if refused.kind is PARTNER_ONLY:
                return []
            raise
        return [Stock(partner.id, partner.name, partner.state is PartnerState.ACTIVE)]

    return stocks_of


async def _of_group(caller: Caller, connection: Connection | Database) -> Sequence[Stock]:
    if caller.acting is None or not caller.acting.role.oversees:
        return []
    sells = await is_approved(connection, caller.account_id)
    return [Stock(caller.account_id, caller.acting.group_name, sells, is_group=True)]
