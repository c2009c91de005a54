"""`uv run apps/ask` is `wideseek ask`."""

import sys

from wideseek_apps.main import main

if __name__ == "__main__":
    main(["ask", *sys.argv[1:]])
