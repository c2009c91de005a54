"""The runs that the examples for clusters start: their settings exist, and they can be planned."""

import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wideseek_apps.main import main

EXAMPLES = Path(__file__).parent.parent / "examples" / "cluster"


def of_slurm() -> list[str]:
    """The words behind `wideseek`, without what the shell fills in."""
    text = (EXAMPLES / "slurm.sh").read_text().replace("\\\n", " ")
    (found,) = re.findall(r"\.venv/bin/wideseek (.*)", text)
    return shlex.split(found.replace('"$@"', "").replace("$address", "10.0.0.1"))


def of_kuberay() -> list[str]:
    """The words behind `wideseek`."""
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    for pod in (cluster["headGroupSpec"]["template"], group["template"]):
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    return shlex.split(job["spec"]["entrypoint"])[1:]


@pytest.mark.parametrize("words", [of_slurm, of_kuberay], ids=["slurm", "kuberay"])
def test_the_run_of_an_example_can_be_planned(
    words: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(EXAMPLES.parent.parent)
    handler = signal.getsignal(signal.SIGINT)
    main([*words(), "--dry-run"])
    signal.signal(signal.SIGINT, handler)
    assert "# Placement: 16 GPUs, 16 processes, 2 nodes (Ray)." in capsys.readouterr().out
