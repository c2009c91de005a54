"""Index folders: passages in an embedded Qdrant shard, pages in SQLite, and a manifest."""
