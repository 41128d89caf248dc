-- Being called by phone, and before a draw; a draw's seed that nobody can read before it is drawn.

-- Whoever wants to be called has given an e-mail address or a phone number, and neither is kept afterwards. Before a draw nobody has a turn.
ALTER TABLE gate.calls
    ADD COLUMN phone text CHECK (phone ~ '^\+628[0-9]{8,11}$'),
    ALTER COLUMN turn DROP NOT NULL,
    DROP CONSTRAINT calls_check,
    ADD CONSTRAINT calls_one_address CHECK (num_nonnulls(email, phone) = CASE state WHEN 'waiting' THEN 1 ELSE 0 END);
CREATE INDEX calls_by_phone ON gate.calls (phone) WHERE phone IS NOT NULL;

-- Until it is drawn a seed is enciphered: a version, a nonce, 32 bytes and a tag (gate/draw_seeds.py). Drawn, it is public and stands here as it is.
-- The seeds of before are kept as they were. What was promised of an enciphered one is kept as it was first published, whatever is published later.
ALTER TABLE gate.rooms
    ADD COLUMN draw_commitment text,
    DROP CONSTRAINT rooms_draw_seed_check,
    ADD CONSTRAINT rooms_draw_seed_check CHECK (length(draw_seed) IN (32, 61)),
    ADD CONSTRAINT rooms_drawn_is_public CHECK (draw_count IS NULL OR length(draw_seed) = 32);

CREATE OR REPLACE FUNCTION gate.keep_draw() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_drawn_now CONSTANT boolean := OLD.draw_count IS NULL AND NEW.draw_count IS NOT NULL
        AND coalesce(length(OLD.draw_seed), 0) = 61 AND coalesce(length(NEW.draw_seed), 0) = 32
        AND OLD.draw_commitment IS NOT DISTINCT FROM encode(sha256(NEW.draw_seed), 'hex');
BEGIN
    IF OLD.draw_seed IS NOT NULL AND NEW.draw_seed IS DISTINCT FROM OLD.draw_seed AND NOT is_drawn_now
       OR OLD.draw_count IS NOT NULL AND NEW.draw_count IS DISTINCT FROM OLD.draw_count
       OR NEW.now_serving < OLD.now_serving THEN
        RAISE EXCEPTION 'a draw is never changed and a turn never goes back';
    END IF;
    NEW.draw_commitment := OLD.draw_commitment;
    IF OLD.draw_seed IS NULL AND length(NEW.draw_seed) = 61 THEN
        NEW.draw_commitment := NEW.published::jsonb #>> '{draw,commitment}';
    END IF;
    RETURN NEW;
END $$;
