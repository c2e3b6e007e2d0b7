-- Everybody who has had a token here, by login. Parameters: none. Zero rows: nobody yet.
SELECT subject, login, uid, coalesce(name, subject) AS called FROM owner ORDER BY login
