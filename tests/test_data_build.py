"""`wideseek data`: data sets built, resumed and demonstrated through the app."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from wideseek_apps.data_building import build, demonstrate, read_world, report_text
from wideseek_apps.data_config import DataBuildConfig, DemonstrateConfig, check_build
from wideseek_apps.main import main
from wideseek_core import ConfigError, DataError, PolicyUnavailable, TableGold
from wideseek_core.config import data_folder, validate
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_data.building.build import oracle_answer
from wideseek_data.building.output import read_plans
from wideseek_data.teaching.conversations import read_demonstrations
from wideseek_eval.datasets.config import JsonlData
from wideseek_eval.datasets.open import load_tasks
from wideseek_judge import JudgeConfig, open_judge

PLACES = ("Ymir", "Buri", "Ask", "Embla", "Vidar", "Idun", "Bragi", "Njord")
COLORS = ("red", "blue", "green")


def page(url: str, text: str) -> str:
    return json.dumps({"url": f"https://moons.example/{url}", "contents": text}) + "\n"


def write_pages(path: Path, places: tuple[str, ...] = PLACES) -> None:
    """One table a place: an overview page and an entry page a moon."""
    lines: list[str] = []
    for number, place in enumerate(places):
        keys = [f"{place[:2]}{end}" for end in ("ara", "ebo", "ida", "olu", "umi", "yx")]
        where = f"Moons of {place}, section Moons"
        listed = "; ".join(keys)
        lines.append(page(f"{place}#Moons", f"{where}. It lists 6 entries by Moon: {listed}."))
        for at, key in enumerate(keys):
            text = (
                f"{key} is an entry of {where} (Moon). Year: {1900 + 7 * at + number}. "
                f"Diameter: {100 * (at + 1) + number} km. Color: {COLORS[at // 2]}."
            )
            lines.append(page(f"{place}/{key}#Moons", text))
    path.write_text("".join(lines))


def config_of(folder: Path, **settings: Any) -> DataBuildConfig:
    write_pages(folder / "pages.jsonl")
    values: dict[str, Any] = {
        "folder": str(folder / "data"),
        "sources": [{"kind": "pages", "name": "moons", "path": str(folder / "pages.jsonl")}],
        "wide_per_table": 6,
        "short_per_table": 9,
        "splits": {"train": 0.7, "dev": 0.3},
    }
    return validate(DataBuildConfig, values | settings)


async def test_a_data_set_is_built_with_gold_that_scores_one(tmp_path: Path) -> None:
    config = config_of(tmp_path, checks={"second": {"by": "teacher", "share": 0.3}})
    report = await build(config)
    folder = config.folder
    tasks = load_tasks(
        JsonlData(path=(folder / "train" / "wide.jsonl", folder / "train" / "short.jsonl"))
    )
    assert len(tasks) == report.files["train/wide.jsonl"] + report.files["train/short.jsonl"] > 25
    plans = {plan.task.id: plan for plan in read_plans(folder)}
    async with open_judge(JudgeConfig()) as judge:
        for task in tasks:
            assert (await judge.score(task, oracle_answer(plans[task.id]))).value == 1.0
            assert isinstance(task.gold, TableGold) == (task.rows > 0)
    second = next(step for step in report.steps if step.name.startswith("second answer"))
    assert second.dropped == {}
    assert second.given - second.repaired["not asked"] > 5


async def test_splits_part_the_entities_and_stay_when_sources_grow(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build(config)

    def entities(folder: Path, split: str) -> set[str]:
        found = read_world(folder, split, ("wide", "short")).plans
        return {entity for plan in found for entity in plan.entities}

    train, dev = entities(config.folder, "train"), entities(config.folder, "dev")
    assert train
    assert dev
    assert not train & dev
    write_pages(tmp_path / "pages.jsonl", (*PLACES, "Hel", "Loki", "Sif"))
    grown = config.model_copy(update={"folder": tmp_path / "grown"})
    await build(grown)
    assert train <= entities(grown.folder, "train")
    assert dev <= entities(grown.folder, "dev")


async def test_the_card_tells_sources_licenses_and_yield(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    source = config.sources[0].model_copy(update={"license": "CC BY 4.0", "attribution": "Us"})
    report = await build(config.model_copy(update={"sources": (source,)}))
    card = (config.folder / "README.md").read_text()
    assert "| moons | CC BY 4.0 | Us | 8 | 56 | - |" in card
    assert all(f"| {step.name} | {step.given} | {step.kept} |" in card for step in report.steps)
    assert report_text(report, config.folder).startswith("pages.jsonl: 56")


async def test_the_card_tells_difficulty_by_given_scores(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build(config)
    plans = [plan for plan in read_plans(config.folder) if plan.recipe.shape == "count"]
    lines = [json.dumps({"id": plan.task.id, "score": 0.25}) for plan in plans]
    (tmp_path / "scores.jsonl").write_text("\n".join(lines))
    report = await build(config.model_copy(update={"scores": tmp_path / "scores.jsonl"}))
    assert [(item.shape, item.mean) for item in report.difficulty] == [("short/count", 0.25)]
    (tmp_path / "scores.jsonl").write_text('{"id": 1}')
    with pytest.raises(DataError, match=r"scores\.jsonl:1: 'id'"):
        await build(config.model_copy(update={"scores": tmp_path / "scores.jsonl"}))


async def test_a_run_that_resumes_gives_the_same_files_and_refuses_other_settings(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path)
    await build(config)
    names = ("train/wide.jsonl", "train/short.jsonl", "plans.jsonl", "README.md")
    before = [(config.folder / name).read_bytes() for name in names]
    await build(config)
    assert [(config.folder / name).read_bytes() for name in names] == before
    with pytest.raises(ConfigError, match="wide_per_table was 6, is 7"):
        await build(config.model_copy(update={"wide_per_table": 7}))


async def test_tasks_about_entities_of_a_test_set_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "held.jsonl").write_text(
        '{"question": "List the Moons of Ymir.", "answer": "none"}'
    )
    sets = [{"name": "held", "path": str(tmp_path / "held.jsonl")}]
    config = config_of(tmp_path, checks={"test_sets": sets})
    report = await build(config)
    step = next(step for step in report.steps if step.name == "not shared with test sets")
    assert step.dropped["held: title"] > 5
    plans = list(read_plans(config.folder))
    assert plans
    assert not any("moons of ymir" in plan.entities for plan in plans)


async def test_pages_that_are_not_allowed_are_used_for_nothing(tmp_path: Path) -> None:
    write_pages(tmp_path / "pages.jsonl")
    urls = [
        json.loads(line)["url"]
        for line in (tmp_path / "pages.jsonl").read_text().splitlines()
        if "Ymir" not in line
    ]
    (tmp_path / "splits.jsonl").write_text(json.dumps({"split": "train", "pages": urls}))
    only = {"path": str(tmp_path / "splits.jsonl"), "where": {"split": "train"}}
    source = {"kind": "pages", "path": str(tmp_path / "pages.jsonl"), "only": only}
    config = config_of(tmp_path, sources=[source])
    await build(config)
    await demonstrate(DemonstrateConfig(data=config.folder, file=tmp_path / "demos.jsonl"))
    unknown = DemonstrateConfig(data=config.folder, split="tran", file=tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"no split 'tran'; it has train"):
        await demonstrate(unknown)
    assert not unknown.file.exists()
    written = [path for path in config.folder.rglob("*.jsonl")]
    for path in (*written, tmp_path / "demos.jsonl"):
        assert "Ymir" not in path.read_text()


def writer_settings(server: HttpServer) -> dict[str, Any]:
    return {
        "writer": {
            "model": "stub",
            "base_url": f"{server.url}/v1",
            "max_tokens": 200,
            "max_attempts": 1,
        },
        "rewriting": {
            "model": "stub",
            "prices": {"prompt_per_million": "1", "response_per_million": "2"},
            "budget": "0.5",
            "max_response_tokens": 200,
        },
    }


def completion(text: str) -> Response:
    return Response.of(
        {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 100},
        }
    )


async def test_a_model_words_the_questions_and_is_paid_once(tmp_path: Path) -> None:
    async def answer(request: Request) -> Response:
        if request.method == "GET":
            return Response.of({"data": []})
        prompt = request.json()["messages"][0]["content"]
        question = prompt.split("Question of the program:\n")[1].split("\n\nTable:")[0]
        if "How many" in question:
            return completion("I would rather not.")
        return completion(json.dumps({"intent": "x", "question": f"For a quiz: {question}"}))

    async with HttpServer(answer) as server:
        config = config_of(tmp_path, **writer_settings(server))
        report = await build(config)
        sent = len(server.requests) - 1
        assert server.requests[0].path == "/v1/models"
        assert (await build(config)).paid == report.paid
        assert len(server.requests) - 1 == sent == report.requests
    assert report.paid == sent * Decimal("0.0005")
    step = next(step for step in report.steps if step.name == "rewriting by a model")
    assert step.repaired["malformed: the reply is no JSON object"] > 2
    questions = [plan.task.question for plan in read_plans(config.folder)]
    assert sum(text.startswith("For a quiz: ") for text in questions) > len(questions) / 2
    assert any(text.startswith("How many") for text in questions)


async def test_a_writer_that_nobody_serves_costs_nothing(tmp_path: Path) -> None:
    async def answer(request: Request) -> Response:
        raise AssertionError(request.path)

    async with HttpServer(answer) as server:
        settings = writer_settings(server)
    with pytest.raises(PolicyUnavailable):
        await build(config_of(tmp_path, **settings))
    assert not (tmp_path / "data" / "rewriting.jsonl").exists()


def test_what_would_make_costs_unknown_is_refused(tmp_path: Path) -> None:
    writer = {"model": "stub", "max_tokens": 200, "max_attempts": 1}
    rewriting = {"model": "stub", "max_response_tokens": 200}
    for change, message in (
        ({"max_attempts": 3}, "paid twice"),
        ({"max_tokens": 300}, "max_tokens"),
        ({"model": "other"}, "rewriting.model"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_of(tmp_path, writer=writer | change, rewriting=rewriting)
    with pytest.raises(ConfigError, match="needs both"):
        config_of(tmp_path, writer=writer)
    with pytest.raises(ConfigError, match="answerer"):
        config_of(tmp_path, checks={"second": {"by": "model"}})


def test_files_that_are_not_there_are_named_before_work(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "pages.jsonl").unlink()
    with pytest.raises(ConfigError, match="sources: nothing at"):
        check_build(config)


async def test_sources_without_tables_are_an_error(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "pages.jsonl").write_text(page("a", "Nothing."))
    with pytest.raises(DataError, match="no table"):
        await build(config)


async def test_demonstrations_are_right_and_of_both_roles(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build(config)
    file = tmp_path / "demos.jsonl"
    settings = DemonstrateConfig(data=config.folder, file=file, invented_worlds=2, tasks=12)
    counts = await demonstrate(settings)
    made = list(read_demonstrations(file))
    assert {item.agent for item in made} == {"lead", "subagent", "single"}
    assert len(made) == sum(
        count for name, count in counts.items() if name.startswith("conversations")
    )
    train = {plan.task.id for plan in read_world(config.folder, "train", ("wide", "short")).plans}
    ids = {item.task for item in made if item.source.startswith("moons")}
    assert ids <= train
    assert len(ids) >= 10


async def test_a_data_set_whose_files_do_not_fit_together_is_named(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build(config)
    settings = DemonstrateConfig(data=config.folder, file=tmp_path / "demos.jsonl")
    path = config.folder / "tables.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(DataError, match="is on a table that is not there"):
        await demonstrate(settings)
    for text, problem in (("{}", "splits: Field required"), ('{"splits": {"a": "x"}}', "splits.a")):
        (config.folder / "config.json").write_text(text)
        with pytest.raises(DataError, match=rf"config\.json: {problem}"):
            await demonstrate(settings)


async def test_demonstrations_can_be_of_some_shapes_alone(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build(config)
    values = {"data": config.folder, "file": tmp_path / "demos.jsonl"}
    await demonstrate(validate(DemonstrateConfig, values | {"shapes": ["lookup", "all"]}))
    sources = {item.source for item in read_demonstrations(tmp_path / "demos.jsonl")}
    assert sources == {"moons/lookup", "moons/all"}
    with pytest.raises(DataError, match="has no hop tasks in the split 'train'"):
        await demonstrate(validate(DemonstrateConfig, values | {"shapes": ["hop"]}))
    with pytest.raises(ConfigError, match="shapes"):
        validate(DemonstrateConfig, values | {"shapes": ["lokup"]})


def test_the_commands_show_what_they_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pages(tmp_path / "pages.jsonl", PLACES[:3])
    source = f"sources=[{{kind: pages, path: {tmp_path / 'pages.jsonl'}}}]"
    main(["data", "build", source, f"folder={tmp_path / 'd'}", "wide_per_table=2"])
    assert "one split:" in capsys.readouterr().out
    main(["data", "demonstrate", f"data={tmp_path / 'd'}", f"file={tmp_path / 'f'}", "tasks=2"])
    assert "conversations of a " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["data", "demonstrate", f"data={tmp_path}"])
    assert "no plans.jsonl" in capsys.readouterr().err


def test_commands_that_make_nothing_end_with_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pages(tmp_path / "pages.jsonl", PLACES[:3])
    source = f"sources=[{{kind: pages, path: {tmp_path / 'pages.jsonl'}}}]"
    amounts = ["wide_per_table=0", "short_per_table=0"]
    with pytest.raises(SystemExit) as ended:
        main(["data", "build", source, f"folder={tmp_path / 'd'}", *amounts])
    assert ended.value.code not in (0, None)
    assert capsys.readouterr().err.count("no task is left after 'recipes") == 1
    with pytest.raises(SystemExit) as ended:
        main(["data", "demonstrate", f"data={tmp_path / 'd'}", f"file={tmp_path / 'f'}"])
    assert ended.value.code not in (0, None)
    assert "has no wide and short tasks in the split 'train'" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


@pytest.mark.skipif(data_folder() is None, reason="WIDESEEK_DATA is not set")
async def test_real_tables_outside_the_train_split_are_used_for_nothing(tmp_path: Path) -> None:
    folder = data_folder()
    assert folder is not None
    root = folder / "wikitables"
    if not root.is_dir():
        pytest.skip("no wikitables in WIDESEEK_DATA")
    only = {"path": str(root / "splits.jsonl"), "where": {"split": "train"}}
    source = {"kind": "pages", "path": str(root / "pages.jsonl"), "only": only}
    config = config_of(
        tmp_path, sources=[source], wide_per_table=1, short_per_table=1, checks={"reachable": False}
    )
    await build(config)
    splits = [json.loads(line) for line in (root / "splits.jsonl").read_text().splitlines()]
    allowed = {url for item in splits if item["split"] == "train" for url in item["pages"]}
    pages = (config.folder / "pages.jsonl").read_text().splitlines()
    assert {json.loads(line)["url"] for line in pages} <= allowed
    plans = list(read_plans(config.folder))
    assert len(plans) > 300
    assert all(set(plan.pages) <= allowed for plan in plans)
    asked = {
        json.loads(line)["question"]
        for name in ("wide_dev.jsonl", "qa_dev.jsonl")
        for line in (root / name).read_text().splitlines()
    }
    assert not asked & {plan.task.question for plan in plans}
