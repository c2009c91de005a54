import os

import pytest

from wideseek_rl import BuiltinEngineConfig
from wideseek_rl.engines.builtin.open import replica_count
from wideseek_rl.testing import tiny_model


def test_small_models_are_replicated_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cores = tiny_model(), set(range(3))

    def affinity(_pid: int) -> set[int]:
        return cores

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    assert replica_count(BuiltinEngineConfig(), model) == 3
    assert replica_count(BuiltinEngineConfig(processes=1), model) == 1
    assert replica_count(BuiltinEngineConfig(processes=0), model) == 0
    assert replica_count(BuiltinEngineConfig(), model, max_parameters=1000) == 0
    cores.update(range(64))
    assert replica_count(BuiltinEngineConfig(), model) == 8
    cores.intersection_update({0})
    assert replica_count(BuiltinEngineConfig(), model) == 0
