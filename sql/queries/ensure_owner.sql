-- Find the owner of a subject, or make one with the login offered.
-- Parameters: subject text, login text. Zero rows: the login belongs to somebody else.
WITH made AS (
  INSERT INTO owner (subject, login) VALUES (%(subject)s::text, %(login)s::text)
  ON CONFLICT DO NOTHING
  RETURNING id, subject, login, uid
)
SELECT id, subject, login, uid FROM made
UNION ALL
SELECT id, subject, login, uid FROM owner WHERE subject = %(subject)s::text
LIMIT 1
