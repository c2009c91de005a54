"""Search and page services over HTTP, one per file, all behind the same two methods."""
