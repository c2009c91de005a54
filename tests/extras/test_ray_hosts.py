"""A run over hosts of a Ray cluster whose network links go down while their processes live on."""

from pathlib import Path

import pytest

from .ray_hosts import CAN_BE_MADE, opened_hosts
from .ray_nodes import Run

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not CAN_BE_MADE, reason="network namespaces need root and iproute2"),
]

TRAINERS, ENGINES = (2, 3), (4, 5)


def test_a_host_whose_link_is_cut_is_a_lost_node(tmp_path: Path) -> None:
    with opened_hosts(tmp_path) as hosts:
        for number in TRAINERS:
            hosts.add(number, "training")
        for number in ENGINES:
            hosts.add(number, "sampling")
        hosts.wait_for(5)
        run = Run(tmp_path / "run", hosts.placement, 0)
        try:
            run.reach(1)
            hosts.cut(ENGINES[1])
            run.note(cut="an engine")
            run.reach(3)
            hosts.cut(TRAINERS[1])
            run.note(cut="a rank")
            output = run.finish(2)
            run.note(ended="for want of a trainer")
            assert "no room for 1 x engine" in output
            assert "no room for 2 x trainer" in output
            for number, resource in ((TRAINERS[1], "training"), (ENGINES[1], "sampling")):
                hosts.end_raylet(number)
                hosts.mend(number)
                hosts.add(number, resource)
            hosts.wait_for(5)
            run.again()
            run.finish()
            run.note(outcome="finished", trained_once=run.trained_once)
        finally:
            run.kill()
        assert run.trained_once, run.rollouts
