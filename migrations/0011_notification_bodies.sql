-- The raw words of payment notifications hold personal data and are read by people only, after a complaint: they live by the
-- month, so that old months leave as a whole. What a notification said of its order stays in its row.
CREATE TABLE purchase.notification_bodies (
    notification_id uuid PRIMARY KEY,
    headers         jsonb NOT NULL,
    body            bytea NOT NULL
) PARTITION BY RANGE (notification_id);
CREATE TABLE purchase.notification_bodies_default PARTITION OF purchase.notification_bodies DEFAULT;

DO $$
DECLARE
    this_month constant date := date_trunc('month', now() AT TIME ZONE 'UTC');
    first_day  constant date := coalesce((SELECT date_trunc('month', min(received_at) AT TIME ZONE 'UTC')
        FROM purchase.notifications), this_month);
    month date;
BEGIN
    FOR month IN SELECT generate_series(first_day, this_month + interval '3 months', interval '1 month')::date LOOP
        PERFORM infra.add_month('purchase', 'notification_bodies', month);
    END LOOP;
END $$;

INSERT INTO purchase.notification_bodies (notification_id, headers, body)
SELECT id, headers, body FROM purchase.notifications;
ALTER TABLE purchase.notifications DROP COLUMN headers, DROP COLUMN body;
