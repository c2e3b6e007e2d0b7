-- Programs that were not there for long are forgotten.
-- Parameters: age interval. Zero rows: there is none.
DELETE FROM program WHERE seen_at < now() - %(age)s::interval RETURNING name
