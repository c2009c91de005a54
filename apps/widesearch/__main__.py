"""`uv run apps/widesearch` is `wideseek widesearch`."""

import sys

from wideseek_apps.main import main

if __name__ == "__main__":
    main(["widesearch", *sys.argv[1:]])
