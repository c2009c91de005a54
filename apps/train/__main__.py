"""`uv run apps/train` is `wideseek train`."""

import sys

from wideseek_apps.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
