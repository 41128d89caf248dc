"""What can be proved of an account, and to whom: the account itself, and of its members each what is their own."""

from __future__ import annotations

from decimal import Decimal

from stamping_people import Person, Site, pdf

from emeterai.core.ordering import ChargeState, Seen
from emeterai.door_facts import DoorFacts
from emeterai.gate.receipts import Fact, Moment
from emeterai.infra.ids import new_id
from emeterai.purchase.paid_moments import PaidMoments
from emeterai.purchase.service import Source


def facts_of(site: Site) -> DoorFacts:
    """The facts as the application knows them."""
    services = site.services
    return DoorFacts(services.db, services.ledger, services.purchase, services.documents, PaidMoments(services.db))


async def test_a_file_is_proved_to_its_sender_and_the_account(site: Site, siti: Person) -> None:
    """Not to another member, and not while it is on its way."""
    facts, documents, account_id, member = facts_of(site), site.services.documents, siti.account_id, new_id()
    document_id = await documents.receive(account_id, "surat.pdf", pdf(), made_by=member)
    document = await documents.get(account_id, document_id)
    assert document.received_at is not None
    assert document.digest is not None
    fact = Fact(document.received_at, document.digest.hex(), Moment.FILE_SAFE)
    for only_by, proved in ((None, fact), (member, fact), (new_id(), None)):
        assert proved == await facts.uploaded(account_id, document_id, only_by)
    assert await facts.uploaded(new_id(), document_id, None) is None
    begun = await documents.begin(account_id, "surat.pdf", 10)
    assert await facts.uploaded(account_id, begun, None) is None


async def test_a_payment_is_proved_to_those_who_see_the_order(site: Site, siti: Person) -> None:
    """A plain member does not; what is not paid is not proved."""
    facts, purchase = facts_of(site), site.services.purchase
    order = await purchase.place_order(siti.account_id, 1)
    assert await facts.paid(siti.account_id, order.id, None) is None
    seen = Seen(ChargeState.SETTLED, Decimal(order.total_idr), "IDR")
    after, _ = await purchase.apply_seen(order.id, seen, Source("sandbox", "c"))
    assert after.paid_at is not None
    assert Fact(after.paid_at, order.number, Moment.CREDITED) == await facts.paid(siti.account_id, order.id, None)
    assert await facts.paid(siti.account_id, order.id, new_id()) is None
    assert await facts.paid(new_id(), order.id, None) is None
