-- What was done and refused, the latest first.
-- Parameters: who text, action text, target text, begins text (how the request's
--   id begins; of each NULL: any), refused boolean (NULL: either), since timestamptz, until
--   timestamptz (NULL: no bound), before_at timestamptz, before_id bigint (NULL: from the latest on;
--   else from the row after that one), count int.
SELECT id, at, who, actor, action, target, result, detail
FROM audit
WHERE (%(who)s::text IS NULL OR who = %(who)s::text)
  AND (%(action)s::text IS NULL OR action = %(action)s::text)
  AND (%(target)s::text IS NULL OR target = %(target)s::text)
  AND (%(refused)s::boolean IS NULL OR (result <> 'done') = %(refused)s::boolean)
  AND (%(begins)s::text IS NULL OR starts_with(actor ->> 'request', %(begins)s::text))
  AND at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND at < coalesce(%(until)s::timestamptz, 'infinity')
  AND (%(before_at)s::timestamptz IS NULL
       OR (at, id) < (%(before_at)s::timestamptz, %(before_id)s::bigint))
ORDER BY at DESC, id DESC
LIMIT %(count)s::int
