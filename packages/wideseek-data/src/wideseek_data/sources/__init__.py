"""Where tables and pages come from."""
