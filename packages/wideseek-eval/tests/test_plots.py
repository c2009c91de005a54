"""Pictures of runs: their lines, axes and what is refused."""

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from wideseek_core import ConfigError, DataError
from wideseek_eval.cli import run
from wideseek_eval.reports.plots import Line, Mark, Panel, draw, ticks
from wideseek_eval.reports.run_plots import training_panels, width_panels

SPEC = spec_from_file_location("demo_run", Path(__file__).parent / "demo_run.py")
assert SPEC is not None
assert SPEC.loader is not None
DEMO = module_from_spec(SPEC)
SPEC.loader.exec_module(DEMO)


def training_run(folder: Path, values: Sequence[float]) -> Path:
    folder.mkdir(parents=True)
    lines: list[dict[str, object]] = [{"version": 1, "step": 0, "eval/held_out/item_f1": 0.3}]
    for step, value in enumerate(values, 1):
        lines.append({"version": 1, "step": step, "score/item_f1": value, "score/mean": None})
    lines.append({"version": 1, "step": len(values), "eval/held_out/item_f1": 0.8})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.31, 0.78, (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.97, 1, (0.97, 0.98, 0.99, 1)),
        (3, 59, (0, 20, 40, 60)),
        (-2, 2, (-2, -1, 0, 1, 2)),
    ],
)
def test_axes_have_round_numbers_and_end_where_the_values_do(
    low: float, high: float, expected: tuple[float, ...]
) -> None:
    assert ticks(low, high) == expected


def test_one_value_has_an_axis_around_it() -> None:
    found = ticks(0.5, 0.5)
    assert found[0] <= 0.5 <= found[-1]
    assert len(found) > 1


def test_a_run_without_steps_is_refused_and_a_line_that_is_being_written_is_left_out(
    tmp_path: Path,
) -> None:
    folder = training_run(tmp_path / "a", [0.1, 0.2])
    before = training_panels([("a", folder)])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"version": 1, "step": 3, "score/it')
    assert training_panels([("a", folder)]) == before
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="nothing to draw yet"):
        training_panels([("a", folder)])


def test_training_curves_show_steps_their_running_mean_and_held_out_points(tmp_path: Path) -> None:
    folder = training_run(tmp_path / "a", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    (panel,) = training_panels([("a", folder)])
    steps, mean, held_out = panel.lines
    assert [(mark.x, mark.y) for mark in steps.marks] == [(n, n / 10) for n in range(1, 7)]
    assert [round(mark.y, 3) for mark in mean.marks] == [0.1, 0.15, 0.2, 0.25, 0.3, 0.4]
    assert [(mark.x, mark.y) for mark in held_out.marks] == [(0, 0.3), (6, 0.8)]
    assert (steps.faint, held_out.joined) == (True, False)


def test_runs_of_one_label_share_color_and_legend(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        training_run(tmp_path / name, [0.1, 0.2])
    picture = tmp_path / "out.svg"
    words = [f"ours={tmp_path / 'a'}", f"ours={tmp_path / 'b'}", f"0.5={tmp_path / 'c'}"]
    run(["plot", str(picture), *words])
    text = picture.read_text("utf-8")
    ET.fromstring(text)
    assert re.findall(r'y="18">([^<]*)<', text) == ["ours", "0.5"]
    assert text.count("<polyline") == 6
    colors = re.findall(r'<polyline[^>]* stroke="([^"]*)"', text)
    assert len(set(colors[:4])) == 1
    assert len(set(colors)) == 2


async def test_a_single_evaluation_is_drawn_by_the_width_of_its_rollouts(tmp_path: Path) -> None:
    await DEMO.write_run(tmp_path / "run", 11)
    (panel,) = width_panels([("run", tmp_path / "run")])
    with pytest.raises(ConfigError, match="by their score alone"):
        width_panels([("run", tmp_path / "run")], ["row_f1"])
    ((mark,),) = (line.marks for line in panel.lines)
    assert (mark.x, mark.y) == (2, pytest.approx(0.5))
    assert mark.low is not None
    assert mark.high is not None
    assert 0 <= mark.low < mark.y < mark.high <= 1


async def test_several_evaluations_are_points_of_one_curve(tmp_path: Path) -> None:
    for name, count in (("a", 11), ("b", 3)):
        await DEMO.write_run(tmp_path / name, count)
    run(["plot", str(tmp_path / "w.svg"), str(tmp_path / "a"), str(tmp_path / "b")])
    text = (tmp_path / "w.svg").read_text("utf-8")
    ET.fromstring(text)
    assert text.count("<circle") == 4
    assert ">Row F1</text>" in text
    panels = width_panels([("a", tmp_path / "a"), ("b", tmp_path / "b")], ["searches"])
    assert [mark.y for mark in panels[0].lines[0].marks] == [2, 2]


def test_no_interval_leaves_the_axes() -> None:
    marks = (Mark(x=10, y=0.9, low=0.8, high=1.0), Mark(x=20, y=0.0, low=0.0, high=0.2))
    text = draw(
        "t", [Panel(title="p", x_title="x", lines=(Line(label="a", marks=marks, dots=True),))]
    )
    places = [float(y) for y in re.findall(r'cy="([\d.]+)"', text)]
    assert min(places) >= 30
    assert max(places) <= 210
    assert ">1</text>" in text
    assert not re.search(r">1\.\d+</text>", text)


def test_labels_are_escaped_and_cut() -> None:
    lines = tuple(Line(label=f"<b>{n}" * 30, marks=(Mark(x=0, y=n),)) for n in range(6))
    text = draw("<t>", [Panel(title="<p>", x_title="<x>", lines=lines)])
    ET.fromstring(text)
    assert "<b>" not in text
    assert "…" in text


@pytest.mark.skipif(find_spec("resvg_py") is None, reason="needs the extra png")
def test_a_picture_can_be_a_png_file(tmp_path: Path) -> None:
    folder = training_run(tmp_path / "a", [0.1, 0.2])
    run(["plot", str(tmp_path / "out.png"), str(folder), "zoom=1"])
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_what_can_not_be_drawn_is_one_clear_line(tmp_path: Path) -> None:
    folder = str(training_run(tmp_path / "a", [0.1]))
    target = str(tmp_path / "out.svg")
    with pytest.raises(ConfigError, match=r"out\.pdf: the name of a picture must end in"):
        run(["plot", str(tmp_path / "out.pdf"), folder])
    with pytest.raises(
        ConfigError, match=r"no run has a metric 'loss'; known: eval/held_out/item_f1"
    ):
        run(["plot", target, folder, "metrics=[loss]"])
    with pytest.raises(ConfigError, match="missing key 'runs'"):
        run(["plot", target])
    with pytest.raises(DataError, match="none is not a run"):
        run(["plot", target, str(tmp_path / "none")])
    with pytest.raises(DataError, match="is not a training run"):
        run(["plot", target, str(tmp_path / "none"), "kind=training"])
