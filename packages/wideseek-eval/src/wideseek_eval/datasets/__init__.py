"""Data sets: their configurations, and tasks out of them."""
