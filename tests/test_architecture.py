"""The measured part of docs/architecture.md is that of the sources."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_on_architecture_is_up_to_date() -> None:
    script = ROOT / "scripts" / "architecture.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
