from wideseek_core import Task, TextGold
from wideseek_rl.rollout.sampler import PromptSampler, rollout_seed


def order(count: int, *, per_step: int, seed: int = 0) -> PromptSampler:
    gold = TextGold(answers=("x",))
    tasks = [Task(id=str(n), question="?", gold=gold) for n in range(count)]
    return PromptSampler(tasks, per_step=per_step, seed=seed)


def test_an_epoch_visits_every_task_once() -> None:
    steps = [order(12, per_step=4).at(step) for step in range(3)]
    assert sorted(int(task.id) for tasks in steps for task in tasks) == list(range(12))


def test_a_step_reaches_over_the_end_of_an_epoch() -> None:
    ids = [task.id for step in range(5) for task in order(10, per_step=4).at(step)]
    assert sorted(ids[:10]) == sorted(ids[10:]) == sorted(map(str, range(10)))
    assert ids[:10] != ids[10:]


def test_steps_can_be_asked_for_in_any_order() -> None:
    late = order(10, per_step=4).at(3)
    tasks = order(10, per_step=4)
    for step in range(3):
        tasks.at(step)
    assert tasks.at(3) == late


def test_epochs_make_whole_steps() -> None:
    assert order(20_000, per_step=128).steps(1) == 156
    assert order(3, per_step=8).steps(1) == 1


def test_seed_and_tasks_are_told_apart() -> None:
    ids = [[t.id for t in order(50, per_step=20, seed=seed).at(0)] for seed in (0, 1)]
    assert ids[0] != ids[1]
    assert order(5, per_step=1).fingerprint != order(6, per_step=1).fingerprint


def test_every_rollout_has_a_seed_of_its_own() -> None:
    seeds = {
        rollout_seed(seed, step, task, trial)
        for seed in (0, 1)
        for step in range(5)
        for task in ("a", "b")
        for trial in range(8)
    }
    assert len(seeds) == 160
    assert rollout_seed(0, 0, "a", 0) == rollout_seed(0, 0, "a", 0)
