-- Partitions of the audit for the months to come. Always a row.
SELECT make_audit_partitions() AS made
