"""One spelling for values that mean the same."""
