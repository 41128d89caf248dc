-- Real payment providers: the code that a buyer pays with, and money that is taken back.
ALTER TABLE purchase.orders
    ADD COLUMN pay_channel text CHECK (pay_channel IN ('qris', 'virtual_account')),
    ADD COLUMN pay_code    text,
    ADD COLUMN pay_bank    text,
    ADD CHECK (num_nonnulls(pay_channel, pay_code, pay_bank) IN (0, 3));

ALTER TABLE purchase.notifications
    DROP CONSTRAINT notifications_state_check,
    ADD CONSTRAINT notifications_state_check
        CHECK (state IN ('pending', 'settled', 'expired', 'cancelled', 'reversed'));
