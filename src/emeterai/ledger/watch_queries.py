"""The SQL of the watch. What is new is taken once into a table of the look's own; the rules read that.

To take it: $1 is the horizon of the look before, $2 the earliest `posted_at` above it, $3 the horizon of this look.
To remake the sums: $1 is the earliest `posted_at` above the horizon $2.
"""

from __future__ import annotations

from emeterai.core.ledger import Counter

MAKE_FRESH = """
    CREATE TEMPORARY TABLE fresh (
        id uuid, kind text, reason text, amount bigint, debit uuid, credit uuid, hold_id uuid, subject uuid,
        posted_at timestamptz, may_grow boolean
    ) ON COMMIT DROP
"""
TAKE_FRESH = """
    INSERT INTO pg_temp.fresh
    SELECT id, kind, reason, amount, debit, credit, hold_id, subject, posted_at, ledger.written_since(xmin, $3)
    FROM ledger.transfers WHERE posted_at >= $2 AND ledger.written_since(xmin, $1)
"""
_SUMS = """
    (coalesce(sum(amount) FILTER (WHERE kind IN ('credit', 'receive')), 0)
        - coalesce(sum(amount) FILTER (WHERE kind = 'give'), 0))::bigint AS bought,
    (coalesce(sum(amount) FILTER (WHERE kind = 'hold'), 0)
        - coalesce(sum(amount) FILTER (WHERE kind IN ('settle', 'release')), 0))::bigint AS held,
    coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0)::bigint AS used,
    coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded
"""
_ACCOUNT = "CASE WHEN kind IN ('credit', 'receive') THEN credit ELSE debit END"
_EXPECTED = f"""
    SELECT account,
        coalesce(watched.bought, 0) + moved.bought AS bought, coalesce(watched.held, 0) + moved.held AS held,
        coalesce(watched.used, 0) + moved.used AS used, coalesce(watched.refunded, 0) + moved.refunded AS refunded,
        coalesce(watched.bought - watched.held - watched.used - watched.refunded, 0) AS available_before
    FROM (
        SELECT {_ACCOUNT} AS account, {_SUMS} FROM pg_temp.fresh WHERE kind <> 'money' GROUP BY 1
    ) AS moved LEFT JOIN ledger.watched USING (account)
"""
_ABOVE = "posted_at >= $1::timestamptz - interval '1 day' AND ledger.written_since(xmin, $2)"
"""The transaction decides. The time only keeps out rows so old that their transaction ids may have come round again;
a day is more than a clock is set back, and far less than 2^31 transactions take."""

TOTALS = f"""
    SELECT count(*) AS fresh, min(posted_at) FILTER (WHERE may_grow) AS grows_from,
        array_agg(DISTINCT subject) FILTER (WHERE kind IN ('hold', 'settle', 'release') AND subject IS NOT NULL)
            AS subjects,
        array_agg(DISTINCT subject) FILTER (WHERE kind = 'money' AND subject IS NOT NULL) AS money_subjects,
        coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ISSUED}'), 0)::bigint AS bought,
        coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0)::bigint AS used,
        coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded,
        coalesce(sum(amount) FILTER (WHERE kind = 'credit' AND NOT may_grow), 0)::bigint AS settled_bought,
        (coalesce(sum(amount) FILTER (WHERE kind = 'hold' AND NOT may_grow), 0)
            - coalesce(sum(amount) FILTER (WHERE kind IN ('settle', 'release') AND NOT may_grow), 0))::bigint
            AS settled_held,
        coalesce(sum(amount) FILTER (WHERE kind = 'settle' AND NOT may_grow), 0)::bigint AS settled_used,
        coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND NOT may_grow), 0)::bigint AS settled_refunded,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.holds) AS open_holds,
        (SELECT coalesce(sum(coalesce(balance.bought - balance.held - balance.used - balance.refunded, 0)
                             - expected.available_before), 0)::bigint
         FROM ({_EXPECTED}) AS expected LEFT JOIN ledger.balances AS balance USING (account)) AS available_changed
    FROM pg_temp.fresh
"""

ADVANCE_ACCOUNTS = f"""
    INSERT INTO ledger.watched AS watched (account, bought, held, used, refunded)
    SELECT {_ACCOUNT}, {_SUMS} FROM pg_temp.fresh WHERE kind <> 'money' AND NOT may_grow GROUP BY 1
    ON CONFLICT (account) DO UPDATE SET bought = watched.bought + excluded.bought, held = watched.held + excluded.held,
        used = watched.used + excluded.used, refunded = watched.refunded + excluded.refunded
"""

REMAKE_ACCOUNTS = f"""
    WITH summed AS (
        SELECT {_ACCOUNT} AS account, {_SUMS} FROM ledger.transfers WHERE kind <> 'money' AND NOT ({_ABOVE}) GROUP BY 1
    ), gone AS (
        DELETE FROM ledger.watched WHERE NOT EXISTS (SELECT FROM summed WHERE summed.account = watched.account)
    )
    INSERT INTO ledger.watched AS watched SELECT account, bought, held, used, refunded FROM summed
    ON CONFLICT (account) DO UPDATE SET bought = excluded.bought, held = excluded.held, used = excluded.used,
        refunded = excluded.refunded
    WHERE (watched.bought, watched.held, watched.used, watched.refunded)
        <> (excluded.bought, excluded.held, excluded.used, excluded.refunded)
"""

ENDED_FROM = "timestamptz '1000-01-01 00:00+00'"
"""Where `audited_at` is a time. Below it stands the mark of audits under way, which did not end yet."""
REMAKE_SUMS = f"""
    WITH summed AS (SELECT {_SUMS} FROM ledger.transfers WHERE kind <> 'money' AND NOT ({_ABOVE}))
    INSERT INTO ledger.watch AS watch (horizon, posted_from, bought, held, used, refunded, audited_at, broken)
    SELECT $2, least($1::timestamptz, (SELECT min(posted_at) FROM ledger.transfers WHERE {_ABOVE})),
        bought, held, used, refunded, now(), $3::text[] FROM summed
    ON CONFLICT (only_row) DO UPDATE SET horizon = excluded.horizon, posted_from = excluded.posted_from,
        bought = excluded.bought, held = excluded.held, used = excluded.used, refunded = excluded.refunded,
        looked_at = '-infinity',
        audited_at = CASE WHEN watch.audited_at < {ENDED_FROM} AND watch.audited_at::text IS DISTINCT FROM $4
            THEN watch.audited_at ELSE excluded.audited_at END,
        broken = CASE WHEN watch.audited_at::text = $4 THEN excluded.broken
            ELSE ARRAY(SELECT unnest(watch.broken) UNION SELECT unnest(excluded.broken) ORDER BY 1) END
"""

# The rules of the whole audit (check.py), in its words, as far as new transfers can break them.
RULES = {
    "every balance equals the sum of its transfers": f"""
        SELECT account AS place FROM ({_EXPECTED}) AS expected LEFT JOIN ledger.balances AS balance USING (account)
        WHERE (coalesce(balance.bought, 0), coalesce(balance.held, 0), coalesce(balance.used, 0),
               coalesce(balance.refunded, 0))
            IS DISTINCT FROM (expected.bought, expected.held, expected.used, expected.refunded)
    """,
    "bought = available + held + used + refunded, and nothing is below zero": f"""
        SELECT account AS place FROM ({_EXPECTED}) AS expected
        WHERE bought - held - used - refunded < 0 OR held < 0 OR used < 0 OR refunded < 0
    """,
    "a settle or release repeats the account and the amount of its hold": """
        SELECT id AS place FROM pg_temp.fresh WHERE hold_id IS NOT NULL AND (
            SELECT (debit, amount) = (fresh.debit, fresh.amount) FROM ledger.transfers
            WHERE id = fresh.hold_id AND kind = 'hold'
        ) IS NOT TRUE
    """,
    "a hold ends at most once": """
        SELECT DISTINCT hold_id AS place FROM pg_temp.fresh WHERE hold_id IS NOT NULL
            AND (SELECT count(*) FROM ledger.transfers AS ending WHERE ending.hold_id = fresh.hold_id) > 1
    """,
    "the open holds are exactly the holds without an ending": """
        SELECT coalesce(hold_id, id) AS place FROM pg_temp.fresh WHERE kind IN ('hold', 'settle', 'release')
            AND (SELECT count(*) FROM ledger.holds AS open WHERE open.id = coalesce(fresh.hold_id, fresh.id)) <> CASE
                WHEN EXISTS (SELECT FROM ledger.transfers AS ending
                             WHERE ending.hold_id = coalesce(fresh.hold_id, fresh.id)) THEN 0 ELSE 1 END
        GROUP BY 1
    """,
    "transfers debit and credit the accounts that their kind names": f"""
        SELECT id AS place FROM pg_temp.fresh
        WHERE CASE kind
            WHEN 'credit' THEN debit <> '{Counter.ISSUED}'
            WHEN 'refund' THEN credit <> '{Counter.REFUNDED}'
            WHEN 'give' THEN credit <> '{Counter.PASSED_ON}'
            WHEN 'receive' THEN debit <> '{Counter.PASSED_ON}'
            WHEN 'money' THEN debit > '{Counter.LAST}' OR credit > '{Counter.LAST}'
            ELSE credit <> '{Counter.USED}' END
    """,
    "what one account gives another receives": """
        SELECT subject AS place FROM pg_temp.fresh WHERE kind IN ('give', 'receive') GROUP BY subject
        HAVING sum(amount) FILTER (WHERE kind = 'give') IS DISTINCT FROM sum(amount) FILTER (WHERE kind = 'receive')
    """,
    "no order gives out more money than it took in": f"""
        SELECT subject AS place FROM (SELECT DISTINCT subject FROM pg_temp.fresh WHERE kind = 'money') AS paid
        WHERE (
            SELECT coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ORDER_LIABILITY}'), 0)
                 > coalesce(sum(amount) FILTER (WHERE credit = '{Counter.ORDER_LIABILITY}'), 0)
            FROM ledger.transfers AS money WHERE money.kind = 'money' AND money.subject = paid.subject
        )
    """,
    "quota from a purchase was paid for: its order owes nothing and paid the duty": f"""
        SELECT id AS place FROM pg_temp.fresh WHERE kind = 'credit' AND reason = 'purchase' AND (
            SELECT coalesce(sum(amount) FILTER (WHERE credit = '{Counter.TREASURY_DUTY}'), 0) > 0
               AND coalesce(sum(amount) FILTER (WHERE credit = '{Counter.ORDER_LIABILITY}'), 0)
                 = coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ORDER_LIABILITY}'), 0)
            FROM ledger.transfers AS money WHERE money.kind = 'money' AND money.subject = fresh.subject
        ) IS NOT TRUE
    """,
}
OPEN_HOLDS = (
    "every open hold was posted and has no ending",
    """
        SELECT open.id AS place FROM ledger.holds AS open WHERE (
            SELECT (debit, amount) = (open.account, open.amount) FROM ledger.transfers
            WHERE transfers.id = open.id AND kind = 'hold'
        ) IS NOT TRUE OR EXISTS (SELECT FROM ledger.transfers WHERE transfers.hold_id = open.id)
    """,
)
"""There are few open holds, so all of them are looked at."""
