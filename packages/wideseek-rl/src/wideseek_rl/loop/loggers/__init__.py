"""Where a run's metrics and episodes are written. One destination a file; `open.py` opens them."""
