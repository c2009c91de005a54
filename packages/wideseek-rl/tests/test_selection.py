import random
from dataclasses import replace

import pytest

from wideseek_core import AgentRole, Status, Trajectory
from wideseek_rl import SELECTIONS
from wideseek_rl.algorithm.selection import (
    all_turns,
    main_turns,
    outcome_agents,
    outcome_turns,
    subagent_turns,
)
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.testing import make_agent, make_scored, make_turn


def agent(turns: int, status: Status, role: AgentRole = "lead") -> Trajectory:
    return make_agent(*(make_turn() for _ in range(turns)), status=status, role=role)


def test_a_good_rollout_trains_all_turns_but_those_of_failed_agents() -> None:
    scored = make_scored(
        agent(2, Status.FINISHED),
        agent(2, Status.FINISHED, "subagent"),
        agent(3, Status.CONTEXT_OVERFLOW, "subagent"),
        agent(1, Status.TURN_LIMIT, "subagent"),
    )
    assert outcome_turns(scored) == [[True, True], [True, True], [False] * 3, [False]]


def test_a_lead_that_failed_with_good_form_trains_the_turn_it_failed_with() -> None:
    scored = make_scored(agent(3, Status.TURN_LIMIT), agent(2, Status.REPETITION, "subagent"))
    assert outcome_turns(scored) == [[False, False, True], [False, False]]


def test_a_bad_answer_trains_the_last_turn_and_the_turns_that_repeated() -> None:
    scored = make_scored(
        agent(3, Status.FINISHED),
        agent(2, Status.REPETITION, "subagent"),
        agent(2, Status.TURN_LIMIT, "subagent"),
        valid=False,
    )
    assert outcome_turns(scored) == [[False, False, True], [False, True], [False, False]]


def test_without_repetition_a_bad_answer_trains_overflows_and_turn_limits() -> None:
    scored = make_scored(
        agent(2, Status.FINISHED),
        agent(2, Status.CONTEXT_OVERFLOW, "subagent"),
        agent(2, Status.TURN_LIMIT, "subagent"),
        agent(2, Status.FINISHED, "subagent"),
        valid=False,
    )
    assert outcome_turns(scored) == [[False, True], [False, True], [False, True], [False, False]]


def test_a_lead_that_failed_without_form_trains_only_its_failing_turn() -> None:
    scored = make_scored(agent(2, Status.CONTEXT_OVERFLOW), valid=False)
    assert outcome_turns(scored) == [[False, True]]


def test_all_turns_of_an_agent_may_be_held_to_account_for_its_end() -> None:
    lead = agent(3, Status.TURN_LIMIT)
    overflow = agent(2, Status.CONTEXT_OVERFLOW, "subagent")
    well = agent(2, Status.FINISHED, "subagent")
    repeated = agent(2, Status.REPETITION, "subagent")
    ended = agent(2, Status.FINISHED)
    formed, lost = make_scored(lead, overflow), make_scored(lead, overflow, well, valid=False)
    assert outcome_agents(formed) == [[True] * 3, [False] * 2]
    assert outcome_agents(lost) == [[True] * 3, [True] * 2, [False] * 2]
    once = make_scored(ended, repeated, overflow, valid=False)
    assert outcome_agents(once) == [[False, True], [False, True], [False] * 2]
    assert outcome_agents(make_scored(ended, overflow)) == [[True] * 2, [False] * 2]


def created(turn: int, turns: int, status: Status) -> Trajectory:
    """A subagent that the lead created in this turn of its own."""
    return replace(agent(turns, status, "subagent"), agent=1 + turn, parent=0, parent_turn=turn)


@pytest.mark.parametrize("end", [Status.REPETITION, Status.CONTEXT_OVERFLOW, Status.FINISHED])
def test_subagents_whose_reports_did_not_fit_the_lead_are_not_of_the_rollout(end: Status) -> None:
    # One turn of the lead, whose tool message is too long: it answers for it, alone.
    scored = make_scored(agent(1, Status.MESSAGE_OVERFLOW), created(0, 2, end), valid=False)
    assert outcome_agents(scored) == [[True], [False, False]]


def test_subagents_of_earlier_turns_still_answer_for_themselves() -> None:
    lead = agent(2, Status.MESSAGE_OVERFLOW)
    early, late = created(0, 2, Status.REPETITION), created(1, 1, Status.REPETITION)
    scored = make_scored(lead, early, late, valid=False)
    assert outcome_agents(scored) == [[False] * 2, [False, True], [False]]
    early = created(0, 2, Status.TURN_LIMIT)
    scored = make_scored(lead, early, late, valid=False)
    assert outcome_agents(scored) == [[True] * 2, [True] * 2, [False]]


def test_subagents_of_a_lead_at_its_turn_limit_belong_to_the_rollout() -> None:
    lead, late = agent(2, Status.TURN_LIMIT), created(1, 2, Status.REPETITION)
    scored = make_scored(lead, late, valid=False)
    assert outcome_agents(scored) == [[False] * 2, [False, True]]


def test_by_default_reports_that_did_not_fit_excuse_no_subagent() -> None:
    lead, late = agent(1, Status.MESSAGE_OVERFLOW), created(0, 2, Status.REPETITION)
    scored = make_scored(lead, late, valid=False)
    assert outcome_turns(scored) == [[False], [False, True]]


@pytest.mark.parametrize("status", [Status.ABORTED, Status.BUDGET_LIMIT])
def test_what_was_stopped_from_outside_is_not_blamed(status: Status) -> None:
    scored = make_scored(agent(2, Status.FINISHED), agent(2, status, "subagent"), valid=False)
    assert outcome_turns(scored)[1] == outcome_agents(scored)[1] == [False, False]


def test_a_broken_policy_is_never_held_to_account() -> None:
    scored = make_scored(agent(1, Status.FINISHED), agent(1, Status.ERROR, "subagent"), valid=False)
    assert outcome_turns(scored) == [[True], [False]]
    assert all_turns(scored) == [[True], [False]]


def test_roles_can_be_trained_apart() -> None:
    scored = make_scored(agent(2, Status.FINISHED), agent(1, Status.FINISHED, "subagent"))
    assert main_turns(scored) == [[True, True], [False]]
    assert subagent_turns(scored) == [[False, False], [True]]


def test_every_named_selection_gives_one_flag_per_turn() -> None:
    scored = make_scored(agent(2, Status.FINISHED), agent(3, Status.TURN_LIMIT, "subagent"))
    for selection in SELECTIONS.values():
        assert [len(flags) for flags in selection(scored)] == [2, 3]


FAILS_WHOLE = (
    Status.CONTEXT_OVERFLOW,
    Status.MESSAGE_OVERFLOW,
    Status.TURN_CUT,
    Status.TURN_LIMIT,
)


def reference_turns(scored: ScoredEpisode) -> set[tuple[int, int]]:
    """The turns that train by the public implementation, restated step by step.

    It plays the roles one after the other into one buffer, marks the turns of each agent that
    failed, and then gives credit by the marks alone.
    """
    agents = scored.episode.trajectories
    lead = agents[0]
    buffer: list[tuple[int, int]] = [(0, turn) for turn in range(len(lead.turns))]
    for number, worker in enumerate(agents[1:], start=1):
        # A lead whose tool message is too long returns before its workers' turns are added.
        reached = worker.parent_turn != len(lead.turns) - 1
        if lead.status is not Status.MESSAGE_OVERFLOW or reached:
            buffer += [(number, turn) for turn in range(len(worker.turns))]
    whole = {(a, t) for a, t in buffer if agents[a].status in FAILS_WHOLE}
    repeated = {
        (a, t)
        for a, t in buffer
        if agents[a].status is Status.REPETITION and t == len(agents[a].turns) - 1
    }
    lead_failed = lead.status in FAILS_WHOLE or lead.status is Status.REPETITION
    if scored.score.format_valid and not lead_failed:
        failed = {a for a, _ in whole | repeated}
        return {(a, t) for a, t in buffer if a not in failed}
    if scored.score.format_valid:
        return {(a, t) for a, t in buffer if a == 0}
    kept = repeated or whole
    if not lead_failed:
        kept = kept | {(0, len(lead.turns) - 1)}
    return kept


def random_rollout(rng: random.Random, *, team: bool) -> ScoredEpisode:
    """A rollout with any ends; a team's lead delegates in some of its turns."""
    ends = [Status.FINISHED, Status.FINISHED, Status.REPETITION, *FAILS_WHOLE]
    role: AgentRole = "lead" if team else "single"
    lead = agent(rng.randint(1, 4), rng.choice(ends), role)
    workers: list[Trajectory] = []
    for turn in range(len(lead.turns) if team else 0):
        for _ in range(rng.choice((0, 0, 1, 2, 3))):
            worker = created(turn, rng.randint(1, 3), rng.choice(ends))
            workers.append(replace(worker, agent=1 + len(workers)))
    return make_scored(lead, *workers, valid=rng.random() < 0.5)


@pytest.mark.parametrize("team", [True, False])
def test_outcome_agents_is_the_public_rule_in_720_random_rollouts(team: bool) -> None:
    rng = random.Random(7)
    kinds: set[tuple[Status, bool, bool]] = set()
    for _ in range(720):
        scored = random_rollout(rng, team=team)
        found = {
            (number, turn)
            for number, flags in enumerate(outcome_agents(scored))
            for turn, trains in enumerate(flags)
            if trains
        }
        assert found == reference_turns(scored), scored
        workers = len(scored.episode.trajectories) > 1
        kinds.add((scored.episode.main.status, scored.score.format_valid, workers))
    assert len(kinds) == 6 * 2 * (2 if team else 1)  # every end, with and without each
