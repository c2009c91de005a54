"""The trace viewer: what it reads, and that nothing that others wrote runs in its page."""

import json
import re
import shutil
import subprocess
from html import unescape
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from wideseek_core import DataError, Episode, Score, ScoreState, TableMetrics, Task, TextMetrics
from wideseek_core.episode_records import episode_record
from wideseek_core.files import append_line
from wideseek_core.token_records import TokenRecord, TurnTokens
from wideseek_eval.cli import run
from wideseek_eval.runs.regrade import regrade
from wideseek_eval.viewer.traces import read_traces

SPEC = spec_from_file_location("demo_run", Path(__file__).parent / "demo_run.py")
assert SPEC is not None
assert SPEC.loader is not None
DEMO = module_from_spec(SPEC)
SPEC.loader.exec_module(DEMO)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PWN = "document.documentElement.setAttribute('data-pwned', '1')"
HOSTILE = " ".join(
    (
        f"<script>{PWN}</script>",
        f"</script><script>{PWN}</script><!--<script>",
        f'<img src=x onerror="{PWN}">',
        f'<svg onload="{PWN}"><a xlink:href="javascript:{PWN}">x</a></svg>',
        f"[link](javascript:{PWN})",
        f'![image](x" onerror="{PWN})',
        f'<iframe srcdoc="<script>parent.{PWN}</script>"></iframe>',
        f'<math><mtext><table><mglyph><style><img src=x onerror="{PWN}">',
        f'<form action="javascript:{PWN}"><button autofocus onfocus="{PWN}">x</button></form>',
        '<style>body { display: none }</style><base href="https://example.org/">',
        "\u2028\u2029 \ud83d ]]> {{7*7}} ${7*7} ENDOFHOSTILE",
    )
)


def dom(path: Path, profile: Path, fragment: str = "") -> str:
    """The page's DOM after its scripts ran, without them."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            *("--disable-component-update", f"--user-data-dir={profile}", "--dump-dom"),
            *("--virtual-time-budget=5000", f"file://{path}{fragment}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return re.sub(r"(?s)<script.*?</script>", "", done.stdout)


async def page(folder: Path, count: int = 3, hostile: str = "") -> Path:
    await DEMO.write_run(folder / "run", count, hostile)
    run(["view", str(folder / "run")])
    return folder / "run" / "traces.html"


async def test_every_rollout_has_a_line_and_its_episode(tmp_path: Path) -> None:
    await DEMO.write_run(tmp_path / "run", 12)
    traces = list(read_traces(str(tmp_path / "run")))
    assert [trace.line.task_id for trace in traces] == [f"t{n}" for n in range(12)]
    line, detail = traces[4].line, traces[4].detail
    assert (line.score, line.ending, line.subagents, line.turns) == (0.4, "rows missing", 2, 6)
    assert (line.searches, line.accesses, line.tokens, line.source) == (2, 1, 6 * 1020, "set1/wide")
    assert detail.episode is not None
    assert [agent.role for agent in detail.episode.trajectories] == ["lead", "subagent", "subagent"]
    assert detail.diff is not None
    assert [row.kind for row in detail.diff.rows] == ["joined", "joined", "missing", "extra"]
    assert detail.message == "judged t4"


async def test_a_run_without_episodes_is_shown_by_its_results(tmp_path: Path) -> None:
    await DEMO.write_run(tmp_path / "run", 2)
    (tmp_path / "run" / "episodes.jsonl").unlink()
    assert [trace.detail.episode for trace in read_traces(str(tmp_path / "run"))] == [None, None]


def test_the_rollouts_of_training_steps_are_shown_with_their_rewards(tmp_path: Path) -> None:
    for step in (1, 2):
        for trial in (0, 1):
            agents = tuple(DEMO.make_agents())
            episode = Episode(task_id="t", trial=trial, trajectories=agents, answer="a")
            score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=float(trial)))
            record = episode_record(episode, step=step, reward=trial + 0.1, score=score)
            append_line(tmp_path / "episodes" / f"step_{step:06d}.jsonl", record)
    lines = [trace.line for trace in read_traces(str(tmp_path))]
    assert [(line.step, line.trial, line.score, line.reward) for line in lines] == [
        (1, 0, 0.0, 0.1),
        (1, 1, 1.0, 1.1),
        (2, 0, 0.0, 0.1),
        (2, 1, 1.0, 1.1),
    ]
    assert lines[0].question.startswith("List the moons")


def write_steps(folder: Path, *steps: int) -> None:
    """Steps of a training run, with records of the tokens of their first rollouts."""
    for step in steps:
        for trial in (0, 1):
            agents = tuple(DEMO.make_agents())
            episode = Episode(task_id="t", trial=trial, trajectories=agents, answer=DEMO.ANSWER)
            score = Score(
                state=ScoreState.SCORED,
                metrics=TableMetrics(item_f1=0.4),
                format_valid=True,
                cells=DEMO.CELLS,
                missing_rows=("thalassa",),
                extra_rows=("oz",),
            )
            record = episode_record(
                episode, step=step, source="moons/wide", score=score, reward=0.5
            )
            append_line(folder / "episodes" / f"step_{step:06d}.jsonl", record)
        turns = (
            TurnTokens(
                agent=0,
                turn=0,
                texts=("I ask", "<b>two</b>", "\n", "odd"),
                logprobs=(-0.01, -2.5, -7.0, float("nan")),
                advantage=-0.25,
                weight=0.001,
                masked=(3,),
            ),
            TurnTokens(agent=1, turn=0, ids=(17, 23), logprobs=(-0.2, -0.3)),
        )
        tokens = TokenRecord(step=step, task_id="t", trial=0, turns=turns)
        append_line(folder / "tokens" / f"step_{step:06d}.jsonl", tokens)


def test_training_rollouts_have_their_tokens_their_source_and_rows_without_a_match(
    tmp_path: Path,
) -> None:
    write_steps(tmp_path, 3)
    first, second = (trace.detail for trace in read_traces(str(tmp_path)))
    assert [(t.agent, t.advantage, t.masked) for t in first.tokens] == [
        (0, -0.25, (3,)),
        (1, None, ()),
    ]
    assert second.tokens == ()
    assert first.diff is not None
    assert [row.kind for row in first.diff.rows] == ["joined", "joined", "missing", "extra"]
    assert first.diff.rows[2].cells[0].gold == "thalassa"
    assert [cell.answer for cell in first.diff.rows[3].cells] == ["Oz", "1"]
    assert next(read_traces(str(tmp_path))).line.source == "moons/wide"


def test_single_steps_and_a_number_of_rollouts_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_steps(tmp_path, 1, 2, 10)
    assert [trace.line.step for trace in read_traces(str(tmp_path), (2, 10))] == [2, 2, 10, 10]
    run(["view", str(tmp_path), "steps=[2,10]", "limit=3"])
    assert "3 rollouts: " in capsys.readouterr().out
    with pytest.raises(DataError, match="no such steps; it has 1 to 10"):
        run(["view", str(tmp_path), "steps=[5]"])


@needs_chromium
def test_tokens_are_shaded_by_log_prob_and_marked_where_they_do_not_train(tmp_path: Path) -> None:
    write_steps(tmp_path, 3)
    run(["view", str(tmp_path)])
    path = tmp_path / "traces.html"
    # What the key t does, done by the page itself: this browser takes no keys.
    text = path.read_text("utf-8").replace("useState(false)", "useState(true)", 1)
    path.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), "utf-8")
    shown = dom(path, tmp_path / "profile", "#r0")
    assert '<details class="tokens down" open="">' in shown
    facts = "4 tokens · advantage −0.250 · weight 0.00100 · mean log-prob −3.170 · 1 masked"
    assert facts in shown
    assert '<span class="token p0" title="log-prob −0.0100, 99 %">I ask</span>' in shown
    assert (
        '<span class="token p4" title="log-prob −2.5000, 8.2 %">&lt;b&gt;two&lt;/b&gt;</span>'
        in shown
    )
    assert '<span class="token p5" title="log-prob −7.0000, 0.091 %">⏎\n</span>' in shown
    assert '<span class="token odd masked" title="no log-prob">odd</span>' in shown
    assert '<details class="tokens untrained" open="">' in shown
    assert '<span class="token p1" title="log-prob −0.2000, 82 %">17 </span>' in shown


def test_a_folder_that_holds_no_rollouts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run"):
        run(["view", str(tmp_path)])


async def test_the_page_is_one_file_of_less_than_400_kilobytes_before_its_data(
    tmp_path: Path,
) -> None:
    text = (await page(tmp_path)).read_text("utf-8")
    data = sum(len(part) for part in re.findall(r'(?s)type="application/json".*?</script>', text))
    assert len(text) - data < 400_000
    markup = re.sub(r"(?s)<script(?: [^>]*)?>.*?</script>|<style>.*?</style>", "", text)
    assert not re.search(r"<(?:script|link|img|iframe)|src=|href=", markup)
    assert not re.search(r"<script [^>]*src", text)
    assert re.search(r"default-src 'none'; script-src 'sha256-", text)


async def test_no_text_of_others_ends_the_data_or_becomes_markup(tmp_path: Path) -> None:
    text = (await page(tmp_path, hostile=HOSTILE)).read_text("utf-8")
    own = text.count("<script>") + text.count('<script type="application/json"')
    assert text.count("</script>") == own == 11
    assert f"<script>{PWN}" not in text
    (lines,) = re.findall(r'(?s)id="lines">(.*?)</script>', text)
    assert len(json.loads(lines)) == 3
    (details,) = re.findall(r'(?s)id="details">\n(.*?)\n</script>', text)
    assert [len(json.loads(line)["diff"]["rows"]) for line in details.split("\n")] == [4, 4, 4]


@needs_chromium
async def test_the_table_and_a_rollout_are_drawn(tmp_path: Path) -> None:
    path = await page(tmp_path, count=12)
    table = dom(path, tmp_path / "profile")
    assert 'data-ready="1"' in table
    assert table.count('<tr tabindex="0">') == 12
    assert "12 of 12" in table
    assert "<canvas" in table
    shown = unescape(dom(path, tmp_path / "profile", "#r4"))
    assert "5 of 12" in shown
    assert shown.count('class="lane"') == 3
    assert shown.count('<rect class="model"') == 6
    assert '<td class="wrong">' in shown
    assert 'title="Source: subagent 1, turn 2, access: https://example.org/triton"' in shown
    assert "<strong>moon</strong>" in shown
    assert 'href="https://example.org/neptune" rel="noopener noreferrer nofollow"' in shown
    assert '<summary>Thinking</summary><pre tabindex="0">Two moons at least.</pre>' in shown


@needs_chromium
@pytest.mark.parametrize("policy", [True, False], ids=["with-policy", "without-policy"])
async def test_nothing_that_others_wrote_runs(tmp_path: Path, policy: bool) -> None:
    path = await page(tmp_path, hostile=HOSTILE)
    if not policy:
        # The sanitizer has to hold by itself, too.
        text = path.read_text("utf-8")
        without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert without != text
        path.write_text(without, "utf-8")
    for fragment in ("", "#r1"):
        found = dom(path, tmp_path / "profile", fragment)
        head, _, body = found.partition("<body")
        assert 'data-ready="1"' in body
        assert "data-pwned" not in head
        assert "ENDOFHOSTILE" in body
        assert not re.search(r"<(?:iframe|img|style|form action|math|base|object|embed)\b", body)
        assert not re.search(r"""<[^>]*\son\w+\s*=""", body)
        assert not re.search(r'<[^<>]*\shref="\s*javascript:', body, re.IGNORECASE)


@needs_chromium
def test_a_cell_is_found_in_what_its_agent_read(tmp_path: Path) -> None:
    code = files("wideseek_eval.viewer").joinpath("provenance.js").read_text("utf-8")
    episode = {
        "trajectories": [
            agent_json(0, "create", [["Nereid?", "Nereid 170 km", True]]),
            agent_json(1, "search", [["q", "Triton 1353", True], ["r", "Nereid 170", False]]),
            agent_json(2, "access", [["https://a", "**Nereid** has\n170 km", True]]),
        ]
    }
    calls = (["170", "Nereid"], ["1353", "triton"], ["", "Nereid"], ["999", "Nereid"])
    script = (
        f"const episode = {json.dumps(episode)}; const calls = {json.dumps(calls)};"
        "const found = calls.map(([value, key]) => findSources(episode, value, key)"
        ".map((source) => [source.agent, source.tool, source.request]));"
        "document.body.textContent = JSON.stringify(found);"
    )
    (tmp_path / "page.html").write_text(f"<body><script>{code}</script><script>{script}</script>")
    text = unescape(re.sub(r"<[^>]*>", "", dom(tmp_path / "page.html", tmp_path / "profile")))
    assert json.loads(text) == [
        [[2, "access", "https://a"], [0, "create", "Nereid?"]],
        [[1, "search", "q"]],
        [],
        [],
    ]


@needs_chromium
def test_the_time_of_an_agent_is_split_into_model_tools_subagents_and_idle(tmp_path: Path) -> None:
    code = files("wideseek_eval.viewer").joinpath("timeline.js").read_text("utf-8")
    turns = [
        turn_json(
            0, 1, [{"started_s": 1, "seconds": 2, "agent": 1}, {"started_s": 1, "seconds": 3}]
        ),
        turn_json(5, 1, [{"started_s": 6, "seconds": 0.5, "agent": None}]),
        turn_json(6.5, 1, []),
        turn_json(8, 1, []),
    ]
    agents = [
        {"started_s": 0, "seconds": 10, "turns": turns},
        # As a record without times of single tools has it.
        {"started_s": 0, "seconds": 4, "turns": [turn_json(0, 1, [{}]), turn_json(3, 1, [])]},
    ]
    script = (
        f"const agents = {json.dumps(agents)};"
        "const found = agents.map((agent) => segmentsOf(agent, 10)"
        ".map(({ kind, start, end }) => [kind, start, end]));"
        "document.body.textContent = JSON.stringify(found);"
    )
    (tmp_path / "page.html").write_text(f"<body><script>{code}</script><script>{script}</script>")
    text = unescape(re.sub(r"<[^>]*>", "", dom(tmp_path / "page.html", tmp_path / "profile")))
    first, second = json.loads(text)
    assert first == [
        ["model", 0, 1],
        ["agents", 1, 4],
        ["idle", 4, 5],
        ["model", 5, 6],
        ["tool", 6, 6.5],
        ["model", 6.5, 7.5],
        ["idle", 7.5, 8],
        ["model", 8, 9],
        ["idle", 9, 10],
    ]
    assert second == [["model", 0, 1], ["tool", 1, 3], ["model", 3, 4]]


def turn_json(
    started: float, seconds: float, results: list[dict[str, object]]
) -> dict[str, object]:
    return {"started_s": started, "seconds": seconds, "results": results}


def agent_json(agent: int, tool: str, results: list[list[object]]) -> dict[str, object]:
    requests = [request for request, _, _ in results]
    shown = [{"request": request, "text": text, "ok": ok} for request, text, ok in results]
    turn = {"calls": [{"name": tool, "arguments": {"list": requests}}], "results": shown}
    return {"agent": agent, "turns": [turn]}


async def test_the_page_is_written_into_a_folder_whose_name_has_a_colon(tmp_path: Path) -> None:
    await DEMO.write_run(tmp_path / "at 12:30", 2)
    run(["view", str(tmp_path / "at 12:30")])
    assert (tmp_path / "at 12:30" / "traces.html").is_file()


class NothingIsRight:
    async def score(self, task: Task, answer: str) -> Score:
        return Score(state=ScoreState.SCORED, metrics=TableMetrics(), format_valid=True)


async def test_the_page_of_a_regrading_leaves_that_of_the_run_alone(tmp_path: Path) -> None:
    await DEMO.write_run(tmp_path, 2)
    run(["view", str(tmp_path)])
    page = (tmp_path / "traces.html").read_text("utf-8")
    await regrade(tmp_path, NothingIsRight(), name="strict")
    run(["view", f"{tmp_path}:strict"])
    assert (tmp_path / "traces.html").read_text("utf-8") == page
    assert f"{tmp_path.name}:strict" in (tmp_path / "traces.strict.html").read_text("utf-8")
