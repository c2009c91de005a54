from dataclasses import replace

import pytest

from wideseek_core import ScoreState, Status, ToolCall, ToolResult, VersionSpan
from wideseek_rl import (
    GroupRelativeConfig,
    ScoredEpisode,
    UpdateMetrics,
    build_step_batch,
    open_algorithm,
)
from wideseek_rl.loop.metrics import rollout_metrics, source_metrics, update_metrics
from wideseek_rl.testing import make_agent, make_scored, make_turn


def metrics(*groups: list[ScoredEpisode]) -> dict[str, float]:
    batch = build_step_batch(groups, open_algorithm(GroupRelativeConfig()))
    return rollout_metrics(groups, batch, version=3)


def test_metrics_of_a_step_by_hand() -> None:
    lead = make_agent(make_turn(), make_turn([1, 2, 3, 4], [5, 6, 7, 8]))
    sub = make_agent(
        make_turn(calls=["search", "search", "access"]), role="subagent", status=Status.TURN_LIMIT
    )
    found = metrics(
        [make_scored(lead, sub, sub, value=0.4), make_scored(make_agent(), value=0.0, valid=False)]
    )
    assert found["rollouts"] == 2
    assert found["score/mean"] == found["score/item_f1"] == pytest.approx(0.2)
    assert found["score/format_rate"] == 0.5
    assert found["reward/mean"] == pytest.approx((0.4 + 0.1 + 0.05) / 2)
    assert found["reward/score"] == pytest.approx(0.2)
    assert found["reward/format"] == pytest.approx(0.05)
    assert found["reward/access"] == pytest.approx(0.025)
    assert found["agents/subagents_per_rollout"] == 1
    assert (found["turns/lead"], found["turns/subagent"]) == (1.5, 1)
    assert found["calls/search_per_rollout"] == 2
    assert found["calls/access_per_rollout"] == 1
    assert found["calls/search_per_turn"] == pytest.approx(4 / 5)
    assert found["ended/turn_limit"] == 0.5
    assert found["tokens/response_mean"] == pytest.approx((2 + 4 + 2 + 2 + 2) / 5)
    assert found["tokens/response_max"] == 4
    assert found["tokens/generated"] == 12


def test_tools_that_nobody_used_and_results_that_failed_have_metrics_too() -> None:
    results = [ToolResult(request="u", text="", ok=ok) for ok in (True, False, True, True)]
    found = metrics([make_scored(make_agent(replace(make_turn(), results=tuple(results))))])
    assert (found["calls/access_per_rollout"], found["calls/search_per_turn"]) == (0, 0)
    assert found["calls/failed_share"] == 0.25


def test_every_query_of_a_call_is_a_search() -> None:
    many = ToolCall(name="search", arguments={"queries": [{"query": "a"}, {"query": "b"}]})
    one = ToolCall(name="search", arguments={"query": "c"})
    found = metrics([make_scored(make_agent(replace(make_turn(), calls=(many, one)), make_turn()))])
    assert (found["calls/search_per_rollout"], found["requests/search_per_rollout"]) == (2, 3)
    assert found["requests/search_per_turn"] == 1.5


def test_an_answer_of_the_right_form_by_a_lead_that_failed_is_no_answer() -> None:
    found = metrics([make_scored(), make_scored(make_agent(status=Status.TURN_LIMIT))])
    assert found["score/format_rate"] == 0.5


def test_dropped_rollouts_are_in_no_mean() -> None:
    unscored = make_scored(value=0.0, state=ScoreState.UNSCORED)
    found = metrics([make_scored(value=0.8), unscored, make_scored(error="gone")])
    assert (found["tokens/generated"], found["tokens/unused"]) == (2, 4)
    assert found["score/mean"] == pytest.approx(0.8)
    assert (found["dropped/error"], found["dropped/unscored"]) == (1, 1)


def test_a_step_without_usable_rollouts_has_counts_and_no_means() -> None:
    found = metrics([make_scored(error="gone")])
    assert (found["rollouts"], found["dropped/error"], found["tokens/generated"]) == (1, 1, 0)
    means = ("score", "reward", "ended", "agents", "turns", "calls", "requests", "staleness")
    assert [name for name in found if name.partition("/")[0] in means] == []
    counts = [name for name in found if name.startswith("tokens/")]
    assert counts == ["tokens/unused", "tokens/generated"]


def test_a_share_of_nothing_is_left_out() -> None:
    found = metrics([make_scored(make_agent(make_turn()))])
    assert found["score/mean"] == 0.5
    assert "calls/failed_share" not in found  # no call was made
    assert "reward/std_in_group" not in found  # one rollout has no spread


def test_staleness_is_not_known_of_an_engine_that_reports_no_versions() -> None:
    found = metrics([make_scored(make_agent(replace(make_turn(), versions=())))])
    assert found["rollouts/used"] == 1
    assert not [name for name in found if name.startswith(("staleness/", "tokens/age_"))]


def test_only_what_an_update_measured_is_logged() -> None:
    def logged(update: UpdateMetrics) -> dict[str, float]:
        return update_metrics(update, generated=18, rollouts_s=2, update_s=3, sync_s=1)

    times = {"time/rollouts_s": 2, "time/update_s": 3, "time/sync_s": 1, "time/step_s": 6}
    times |= {"speed/generated_per_s": 3}
    assert logged(UpdateMetrics()) == times | {"update/updates": 0}
    found = logged(UpdateMetrics(updates=1, tokens_run=6, mismatch=0.0))
    measured = {"update/updates": 1, "update/tokens_run": 6, "update/mismatch": 0}
    assert found == times | measured | {"speed/trained_per_s": 2}


def test_groups_that_were_complete_before_their_step_were_not_generated_at_once() -> None:
    found = update_metrics(UpdateMetrics(), generated=600, rollouts_s=0, update_s=2, sync_s=1)
    assert found["speed/generated_per_s"] == 200


def test_staleness_counts_updates_between_sampling_and_training() -> None:
    spans = (VersionSpan(version=1, start=0, end=3), VersionSpan(version=3, start=3, end=4))
    turn = replace(make_turn([1], [2, 3, 4, 5]), versions=spans)
    found = metrics([make_scored(make_agent(turn))])
    assert (found["staleness/mean"], found["staleness/max"]) == (1.5, 2)


def test_every_source_of_a_step_has_its_own_metrics() -> None:
    groups = [
        [
            make_scored(value=0.4, source="cities/wide"),
            make_scored(value=0.8, source="cities/wide"),
        ],
        [make_scored(value=0.5, source="cities/qa"), make_scored(value=0.5, source="cities/qa")],
        [make_scored(value=1.0, source="my set?"), make_scored(error="gone", source="my set?")],
        [make_scored(error="gone"), make_scored(error="gone")],
    ]
    batch = build_step_batch(groups, open_algorithm(GroupRelativeConfig()))
    found = source_metrics(groups, batch)
    cities = {k.rpartition("/")[2]: v for k, v in found.items() if k.startswith("source/cities/")}
    assert cities == pytest.approx(
        {
            "rollouts": 4,
            "reward": 0.55 + 0.1,
            "score": 0.55,
            "groups": 2,
            "zero_variance": 1,
            "item_f1": 0.55,
            "row_f1": 0,
            "success": 0,
        }
    )
    assert found["source/my set_/item_f1"] == 1
    assert (found["source/my set_/rollouts"], found["source/my set_/zero_variance"]) == (1, 1)
    unnamed = {name for name in found if name.startswith("source/unnamed/")}
    counts = ("rollouts", "groups", "zero_variance")
    assert unnamed == {f"source/unnamed/{name}" for name in counts}
    assert (found["source/unnamed/rollouts"], found["source/unnamed/groups"]) == (0, 0)


def test_tokens_and_rollouts_are_counted_by_the_version_that_sampled_them() -> None:
    def rollout(*spans: VersionSpan) -> ScoredEpisode:
        turn = replace(make_turn([1], range(2, 2 + spans[-1].end)), versions=spans)
        return make_scored(make_agent(turn))

    mixed = rollout(VersionSpan(version=1, start=0, end=3), VersionSpan(version=3, start=3, end=4))
    fresh = rollout(VersionSpan(version=3, start=0, end=5))
    old = rollout(VersionSpan(version=-6, start=0, end=2))
    found = metrics([mixed, fresh, old])
    tokens = [found[f"tokens/age_{age}"] for age in range(5)]
    assert (tokens, found["tokens/age_5_or_more"]) == ([6, 0, 3, 0, 0], 2)
    rollouts = [found[f"staleness/age_{age}"] for age in range(5)]
    assert (rollouts, found["staleness/age_5_or_more"]) == ([1, 0, 1, 0, 0], 1)
    assert found["staleness/versions_per_rollout"] == pytest.approx(4 / 3)
