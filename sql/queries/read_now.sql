-- The database's clock, which every lease and limit is measured by.
-- Parameters: none.
SELECT clock_timestamp() AS now
