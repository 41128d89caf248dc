"""Each rule of a look, and a change by hand that breaks it; most break the rule of the whole audit as well."""

from __future__ import annotations

from emeterai.ledger.watch_queries import OPEN_HOLDS

BREAKS_EITHER = {
    "every balance equals the sum of its transfers": "UPDATE ledger.balances SET bought = bought + 1",
    "bought = available + held + used + refunded, and nothing is below zero": """
        ALTER TABLE ledger.balances DROP CONSTRAINT balances_check;
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit)
            VALUES ('{new}', 'refund', 'returned', 100, '{account}', '{REFUNDED}');
        UPDATE ledger.balances SET refunded = refunded + 100
    """,
    "the open holds are exactly the holds without an ending": "DELETE FROM ledger.holds",
    "what one account gives another receives": """
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject)
            VALUES ('{new}', 'give', 'sold', 1, '{account}', '{PASSED_ON}', '{new}');
        UPDATE ledger.balances SET bought = bought - 1
    """,
    "no order gives out more money than it took in": """
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject)
            VALUES ('{new}', 'money', 'fee', 1, '{ORDER_LIABILITY}', '{SERVICE_FEE}', '{new}')
    """,
    "quota from a purchase was paid for: its order owes nothing and paid the duty": """
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject)
            VALUES ('{new}', 'credit', 'purchase', 1, '{ISSUED}', '{account}', '{new}');
        UPDATE ledger.balances SET bought = bought + 1
    """,
}
"""What a look and the whole audit both find."""

BREAKS = BREAKS_EITHER | {
    "a settle or release repeats the account and the amount of its hold": """
        UPDATE ledger.transfers SET amount = 2 WHERE kind = 'settle';
        UPDATE ledger.balances SET used = used + 1, held = held - 1
    """,
    "a hold ends at most once": """
        DROP INDEX ledger.transfers_one_ending;
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id)
            SELECT '{new}', kind, reason, amount, debit, credit, hold_id FROM ledger.transfers WHERE kind = 'settle';
        UPDATE ledger.balances SET used = used + 1, held = held - 1
    """,
    "transfers debit and credit the accounts that their kind names": """
        UPDATE ledger.transfers SET credit = '{REFUNDED}' WHERE kind = 'settle'
    """,
    OPEN_HOLDS[0]: "INSERT INTO ledger.holds (id, account, amount, expires_at) VALUES ('{new}', '{account}', 1, now())",
}
