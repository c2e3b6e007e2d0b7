-- A host is looked at before it is committed, and may be closed by hand: `open` follows from that.
ALTER TABLE host
  ADD COLUMN probed boolean NOT NULL DEFAULT false,
  ADD COLUMN committed boolean NOT NULL DEFAULT false,
  ADD COLUMN cordoned boolean NOT NULL DEFAULT false,
  ADD COLUMN shown_host_key text,
  ALTER COLUMN ssh_host_key DROP NOT NULL;
UPDATE host SET probed = open, committed = true;
ALTER TABLE host DROP COLUMN open;
ALTER TABLE host
  ADD COLUMN open boolean NOT NULL
    GENERATED ALWAYS AS (probed AND committed AND NOT cordoned AND ill IS NULL) STORED;

-- A driver may number the cards of a host anew at each boot; only their UUIDs stay.
ALTER TABLE gpu DROP CONSTRAINT a_gpu_index_is_used_once;

-- The search for a vessel without GPU: hosts without GPUs first, then one after the other. What
-- changes with every reservation stays out of it.
CREATE INDEX host_by_gpus ON host (n_gpus, id) WHERE open;
