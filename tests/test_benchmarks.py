"""The benchmarks that CI does not run still fit the code that they measure."""

import json
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


TRY_ALL = """
import json, runpy, sys
from pathlib import Path

folder, found = Path(sys.argv[1]), []
sys.path.insert(0, str(folder))
for name, *arguments in json.loads(sys.argv[2]):
    sys.argv = [name, *arguments]
    print(f"{name}:", file=sys.stderr)
    try:
        runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")
        found.append(0)
    except SystemExit as end:
        found.append(end.code)
    print(json.dumps(found), flush=True)
"""


def test_what_a_benchmark_does_not_know_is_refused_in_one_line(tmp_path: Path) -> None:
    """Before anything starts, and without a traceback."""
    out, made = str(tmp_path / "out"), tmp_path / "made" / "base-0"
    made.mkdir(parents=True)
    (made / "rl_config.json").write_text('{"steps": 12}')
    wrong = {
        "unknown key 'nonsense'": ["gpu_learning", out, "nonsense=3"],
        "no such config file: nonsense.yaml": ["gpu_learning", out, "--sft", "nonsense.yaml"],
        "--arms: duo: they are multi, single": ["gpu_learning", out, "--arms", "multi,duo"],
        "--merge: nowhere has no scores.json": ["gpu_learning", out, "--merge", "nowhere"],
        "got 'some'": ["gpu_schedules", out, "trainer.max_batch_tokens=some"],
        "no schedule is named async:x": ["gpu_schedules", out, "--schedules", "sync,async:x"],
        "no run is named fast-0": ["run_ablations", out, "--only", "fast"],
        "base-0 is of 12 steps: take --steps 12": ["run_ablations", str(made.parent)],
        "gpus=64: there are ": ["run_scaling", f"out={out}", "gpus=64", "model=none"],
    }
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL, str(BENCHMARKS), json.dumps(list(wrong.values()))],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCHMARKS.parents[1],
    )
    assert done.stdout.splitlines()[-1:] == [json.dumps([2] * len(wrong))], done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()
    assert [sum(text in line for line in said) for text in wrong] == [1] * len(wrong), done.stderr
