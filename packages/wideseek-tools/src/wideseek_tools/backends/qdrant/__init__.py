"""A collection on a Qdrant server or cluster: searching it and filling it."""
