"""The HTTP face of drc: stateless, and the only writer of a vessel's state."""
