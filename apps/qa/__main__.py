"""`uv run apps/qa` is `wideseek qa`."""

import sys

from wideseek_apps.main import main

if __name__ == "__main__":
    main(["qa", *sys.argv[1:]])
