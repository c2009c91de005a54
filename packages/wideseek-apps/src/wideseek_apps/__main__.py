"""`python -m wideseek_apps` is the command `wideseek`."""

from wideseek_apps.main import main

if __name__ == "__main__":
    main()
