-- The labels that people gave to hashes, as name --export.
SELECT hash, label FROM labels ORDER BY label, hash
