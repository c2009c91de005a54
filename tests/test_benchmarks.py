"""The benchmarks that CI does not run still fit the code that they measure."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).with_name("benchmarks")

IMPORT_ALL = """
import importlib, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
for path in sorted(folder.glob("*.py")):
    importlib.import_module(path.stem)
    print(path.stem, flush=True)
"""


def test_every_benchmark_can_be_imported() -> None:
    """What a benchmark imports exists, and importing one starts nothing."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(BENCHMARKS)],
        capture_output=True,
        text=True,
        check=False,
    )
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert (done.stdout.split(), done.returncode) == (names, 0), done.stderr[-2000:]
