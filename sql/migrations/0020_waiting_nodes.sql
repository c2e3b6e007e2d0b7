-- Which node of a tailnet a network container waits as: a start need not ask it.

ALTER TABLE berth ADD COLUMN device text;  -- the node's id, as the control plane calls it
