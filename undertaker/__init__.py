"""The undertaker: decides which vessels end, and touches no host."""
