"""The audits of all capabilities above the ledger: what `emeterai ledger check` and the steward add to the books."""

from __future__ import annotations

from emeterai.infra.database import Database
from emeterai.ledger.check import Rule
from emeterai.partners.audit import check_all_partners
from emeterai.partners.programme_audit import check_all_programmes
from emeterai.purchase.money_audit import check_all_money
from emeterai.purchase.voucher_audit import check_all_vouchers
from emeterai.stamping.audit import check_all_stamps

AUDITS = (check_all_partners, check_all_programmes, check_all_money, check_all_vouchers)
"""Each looks at everything of its capability and answers its rules. The steward's look knows those of the stamps."""


async def check_all(db: Database) -> list[Rule]:
    """The rules of all of them, the stamps' first."""
    return [rule for audit in (check_all_stamps, *AUDITS) for rule in await audit(db)]
