"""Of which stocks somebody may make vouchers: a partner's own, or the account of an organisation that he oversees.

Nobody makes them of a person's quota: that would be a way to sell it on to strangers.
"""

from __future__ import annotations

from collections.abc import Sequence

from emeterai.accounts.model import Caller
from emeterai.core.refusal import Refused
from emeterai.partners.model import PartnerState
from emeterai.partners.service import PARTNER_ONLY, Partners
from emeterai.purchase.voucher_model import Stock
from emeterai.purchase.vouchers import StocksOf


def voucher_stocks(partners: Partners) -> StocksOf:
    """What `Vouchers` asks."""

    async def stocks_of(caller: Caller) -> Sequence[Stock]:
        if caller.acting is not None:
            return [Stock(caller.account_id, caller.acting.group_name)] if caller.acting.role.oversees else []
        try:
            partner = await partners.of_account(caller.account_id)
        except Refused as refused:
            if refused.kind is PARTNER_ONLY:
                return []
            raise
        return [Stock(partner.id, partner.name, partner.state is PartnerState.ACTIVE)]

    return stocks_of
