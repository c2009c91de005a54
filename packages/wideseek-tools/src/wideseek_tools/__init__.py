"""Search and page access for agents: one interface, many backends, safe online reading, a retrieval server."""
