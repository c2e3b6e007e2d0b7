-- Which installation this database is; what we make on hosts is labelled with it.
-- Parameters: none.
SELECT id::text AS id FROM installation
