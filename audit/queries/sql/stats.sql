-- What the store notes about itself: its cursor, unit, and counts.
SELECT name, value FROM store
