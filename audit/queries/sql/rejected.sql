-- The journal records that could not be taken, and why, as verify counts them.
SELECT journal_offset, reason, CAST(payload AS TEXT) AS payload FROM rejected ORDER BY journal_offset
