"""The guards that can be taken away, to show that the simulation notices, and the promises that it checks."""

from __future__ import annotations

from enum import StrEnum


class Guard(StrEnum):
    """Something in the service without which a promise breaks. Each sentence says what is missing without it."""

    LOCK = "the balance of an account is locked before it is read"
    FENCING = "only the newest claim finishes a job"
    SHARED_ENDING = "settle and release of one hold share one id"
    HOLD_MEMORY = "the ledger remembers how a hold ended"
    TRANSFER_MEMORY = "the ledger remembers the transfers it has"
    STATE_READ = "a stamp's state is read after the lock"
    KEY_MEMORY = "an idempotency key is remembered"
    ASKED_KEYS = "a key whose file found the stamp of another request is remembered with it"
    FILE_MEMORY = "the stamps on the same file are looked for"
    STEADY_ORDER_IDS = "the ids of an order's transfers are made with the order"
    ORDER_READ = "an order is read anew after the lock"
    DATABASE_CLOCK = "expiry is decided by the database's clock"
    EXPIRY_SWEEP = "holds that are over are swept"
    RECLAIM = "leases that are over are freed"
    JOB_DROP = "giving back drops the job"
    READ_BACK = "a seal is read back before it counts"
    TAIL_PER_ATTEMPT = "every attempt stores its tail under a key of its own"
    SERIAL_LEASE = "a process leases the places of the serials it draws"
    IDLE_END = "the database ends a session that sleeps in a transaction"
    AMOUNT = "the money seen is compared with what was asked"
    LATE_MONEY = "money beats an order's expiry"
    ASKING = "the provider is asked about orders"
    WATCH_ANSWERED = "the watch over a closed order ends with an answer"
    NOTICE_SWEEP = "notifications that were left are worked"
    ONE_COMMIT = "the stamp is recorded in the transaction that holds its unit"
    ANSWER_LAST = "an answer is given after the commit"
    READY_FIRST = "only a document that was found good is stamped"


class Promise(StrEnum):
    """What must hold after every commit, every hour, or when everything is quiet."""

    CONSERVED = "bought = available + held + used + refunded, each balance the sum of its transfers, nothing negative"
    MONEY_BALANCED = "what is owed to buyers is nought, and the money seen is what paid orders cost"
    ENDED_ONCE = "a hold ends at most once"
    SERIAL_ONCE = "a serial has one digest for life and ends at most once"
    AGREED = "a stamp, its hold, its serial and its job say the same"
    IN_TIME = (
        "no hold outlives its life and one sweep, nor ends as expired before; no lease outlives itself and one sweep"
    )
    ENDED = "every stamp ends sealed or given back"
    ANSWER_TRUE = "an acknowledged answer stays true"
    ONE_STAMP = "one wish is one stamp, however often it is asked"
    NO_BEFORE_DEBIT = "a file that cannot be sealed never holds a unit"
    FILE_THERE = "a sealed stamp's file is there and right"
    PAID_IS_QUOTA = "settled money is quota once, or in quarantine, and only the exact amount is quota"
    NOT_REFUSED = "the ledger never has to refuse the ending of a hold: the rules before it suffice"


class BrokenPromiseError(AssertionError):
    """A promise was broken: which, by what, and when."""

    def __init__(self, promise: Promise, detail: str) -> None:
        super().__init__(f"{promise.name}: {promise.value} -- {detail}")
        self.promise = promise
