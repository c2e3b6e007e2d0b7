-- Buttons of messages, and slices of GPUs as those who measure them call them.

-- To whom a message went, by the channel's own name for a person; only their clicks count. NULL: it
-- went to nobody in particular.
ALTER TABLE message ADD COLUMN recipient text;
CREATE INDEX message_of_owner ON message (owner_id, id) WHERE recipient IS NOT NULL;

-- The end of its life that a policy sets, where that is before the one in the books.
ALTER TABLE idle ADD COLUMN lives_until timestamptz;
GRANT SELECT (vessel_id, lives_until) ON idle TO drc_conductor;  -- of whom it reads the end

-- The GPU instance of a MIG slice, as nvidia-smi and DCGM's GPU_I_ID count them. NULL: a whole GPU,
-- or nobody could tell.
ALTER TABLE gpu ADD COLUMN instance int;

-- What its measurements bear: the UUID, and of a slice that of its card, and which one it is there.
ALTER TABLE gpu ADD COLUMN measured text NOT NULL GENERATED ALWAYS AS (
  CASE WHEN parent IS NULL OR instance IS NULL THEN uuid ELSE parent || '/' || instance END
) STORED;
