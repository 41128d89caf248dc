-- Transfers are written without a lock when nothing stands against them (docs/decisions/0012). When the writing finds
-- that a hold was ended meanwhile, it undoes itself, and the transfers are decided again under the lock.
CREATE FUNCTION ledger.refuse_overtaken() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'another transaction was faster: decide again' USING ERRCODE = 'serialization_failure';
END $$;
