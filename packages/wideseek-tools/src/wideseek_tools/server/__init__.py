"""The retrieval server: `/retrieve` and `/access` over HTTP."""
