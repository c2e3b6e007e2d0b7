-- The waiting vessels of which nobody said yet that they wait: whoever was to say it died.
-- Parameters: none. Zero rows: it was said of all.
SELECT id FROM vessel
WHERE waiting AND NOT told AND created_at < now() - interval '2 seconds'
