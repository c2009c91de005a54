"""Every code block and every command of the documentation is run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
import yaml

from wideseek_agents import TeamConfig
from wideseek_apps.ask_config import AskConfig
from wideseek_apps.data_config import DataBuildConfig, DemonstrateConfig
from wideseek_apps.evaluation import QaConfig, WideSearchConfig
from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig
from wideseek_core import Config, ConfigError
from wideseek_core.config import validate
from wideseek_judge import JudgeConfig
from wideseek_tools import ToolsConfig

from .conftest import ROOT, World, write_lines
from .docs_commands import PAGES, Block, ShownCommand, blocks, commands, words_of
from .fork_server import ForkServer

BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = list({command.text: command for page in PAGES for command in commands(page)}.values())
"""Each command once, however many pages show it."""
PLUGINS = sorted((ROOT / "examples" / "plugins").iterdir())
CONFIGS: tuple[type[Config], ...] = (
    TrainConfig,
    WideSearchConfig,
    QaConfig,
    AskConfig,
    SftConfig,
    DataBuildConfig,
    DemonstrateConfig,
    JudgeConfig,
    ToolsConfig,
    TeamConfig,
)
TABLE = "```markdown\n| Moon | Radius |\n| --- | --- |\n| Triton | 1353 |\n```"
SMALL = {
    "widesearch": ("data.limit=1",),
    "qa": ("data.limit=1",),
    "ask": (),
}
"""What makes a command small. Later settings win."""
LOCAL = ("policy.turn_tokens=16", "policy.engine.processes=0")
TINY_TRAINING = (
    "rl.steps=1",
    "rl.prompts_per_step=1",
    "rl.group_size=2",
    "data.limit=2",
    "evaluation.data.limit=1",
)


class Stub(BaseHTTPRequestHandler):
    """An OpenAI-style endpoint that answers every chat with a table."""

    def do_GET(self) -> None:
        """Lists models."""
        self._reply({"data": [{"id": "stub"}]})

    def do_POST(self) -> None:
        """Answers a chat."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        choice = {"message": {"content": TABLE}, "finish_reason": "stop"}
        self._reply({"choices": [choice]})

    def log_message(self, format: str, *args: object) -> None:
        """Stays silent."""

    def _reply(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingFolder:
    """A folder with the files that the documentation speaks of, and what runs in it."""

    folder: Path
    policy: Path
    endpoint: str
    environment: dict[str, str]
    server: ForkServer

    def run(self, program: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command of this project in the folder."""
        return self.server.main(MODULES[program], arguments, self.folder.parent)

    def example(self, text: str) -> subprocess.CompletedProcess[str]:
        """Runs a block of Python in the folder."""
        return self.server.script(text, self.folder.parent)

    def meant(self, word: str) -> str:
        """A word of a command, with the test's files for the reader's own."""
        word = re.sub(r"http://(?:127\.0\.0\.1|localhost|[a-z]+):\d+", self.endpoint, word)
        word = re.sub(r"runs/[\w-]+/checkpoints/step_\d+", str(self.policy), word)
        word = re.sub(
            r"(?<=policy\.model=)(?:FOLDER|\.\.\.|smollm2|(?:models|runs)/\S+)$",
            str(self.policy),
            word,
        )
        names = {
            "NAME": "stub",
            "URL": "https://example.com/triton",
            "KEY": "policy",
            "...": "Moon",
        }
        key, equals, value = word.partition("=")
        return f"{key}={names.get(value, value)}" if equals else names.get(word, word)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a stub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def working(
    tmp_path_factory: pytest.TempPathFactory,
    policy: Path,
    world: World,
    surroundings: dict[str, str],
    endpoint: str,
) -> Iterator[WorkingFolder]:
    """The folder, with pages, an index, tasks, runs and responses."""
    folder = tmp_path_factory.mktemp("working") / "folder"
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name in ("packages", "tests", "scripts", "examples", "noxfile.py"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for name in ("tasks", "wide_dev", "mine"):
        shutil.copyfile(world.wide, folder / f"{name}.jsonl")
    trained, held_out = world.wide.read_text("utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text(trained)
    (folder / "dev.jsonl").write_text(held_out)
    shutil.copyfile(world.qa, folder / "qa_dev.jsonl")
    shutil.copyfile(world.pages, folder / "pages.jsonl")
    pages = [json.loads(line) for line in world.pages.read_text("utf-8").splitlines()]
    write_lines(folder / "corpus.jsonl", [{"id": str(n), **page} for n, page in enumerate(pages)])
    keys = dict.fromkeys(("SERPER_API_KEY", "BRAVE_API_KEY", "TAVILY_API_KEY"), "stub")
    installed = tmp_path_factory.mktemp("installed")
    for plugin in PLUGINS:
        _install(plugin, installed)
    path = os.pathsep.join([str(ROOT / "tests" / "docs_stubs"), str(installed)])
    environment = {**surroundings, **keys, "PYTHONPATH": path, "PYTHONWARNINGS": "default"}
    with ForkServer(PRELOADED, folder, environment) as server:
        made = WorkingFolder(
            folder=folder,
            policy=policy,
            endpoint=endpoint,
            environment=environment,
            server=server,
        )
        _fill(made)
        yield made


def _install(plugin: Path, folder: Path) -> None:
    """Puts a distribution where installing would: its modules, and what pip writes beside them."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    shutil.copytree(plugin / "src", folder, dirs_exist_ok=True)
    notes = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    notes.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (notes / "METADATA").write_text(head)
    groups = project.get("entry-points", {})
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (notes / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_a_distribution_of_the_examples_can_be_built(tmp_path: Path) -> None:
    build = ["uv", "build", "-q", "--offline", "--wheel", "-o", str(tmp_path), str(PLUGINS[0])]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        assert any(name.endswith("entry_points.txt") for name in content.namelist())


def _fill(working: WorkingFolder) -> None:
    """Builds what commands of the documentation read: an index, and runs to compare."""
    done = working.run("wideseek", ["index", "build", "pages.jsonl", "to=my-index"])
    assert done.returncode == 0, done.stderr
    data = ["data.kind=jsonl", "data.path=tasks.jsonl"]
    world = ["world.kind=corpus", "world.pages=pages.jsonl"]
    model = [f"policy.model={working.policy}", *LOCAL, "run.folder=runs/a"]
    done = working.run("wideseek", ["widesearch", *data, *world, *model])
    assert done.returncode == 0, done.stderr
    for name in ("b", "train/before", "train/after", "widesearch"):
        shutil.copytree(working.folder / "runs" / "a", working.folder / "runs" / name)


# Blocks.


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages and not block.is_module]
    return pytest.mark.parametrize("block", chosen, ids=[block.name for block in chosen])


@of("python")
def test_an_example_runs_as_printed(block: Block, working: WorkingFolder) -> None:
    done = working.example(block.text)
    assert done.returncode == 0, done.stderr


@of("yaml")
def test_an_example_of_settings_is_accepted(block: Block) -> None:
    raw = yaml.safe_load(block.text)
    problems: list[str] = []
    for config in CONFIGS:
        try:
            validate(config, dict(raw))
        except ConfigError as error:
            missing = str(error).startswith("missing key")
            problems += [] if missing else [f"{config.__name__}: {error}"]
            if missing:
                return
        else:
            return
    raise AssertionError("\n".join(problems))


@of("toml")
def test_an_example_of_toml_can_be_read(block: Block) -> None:
    assert tomllib.loads(block.text)


@of("json", "jsonl")
def test_an_example_of_json_can_be_read(block: Block) -> None:
    parts = block.text.splitlines() if block.language == "jsonl" else [block.text]
    assert all(json.loads(part) for part in parts if part.strip())


def test_no_block_is_of_a_language_that_nothing_checks() -> None:
    known = {"python", "yaml", "toml", "json", "jsonl", "text", "mermaid", "bash", "console", ""}
    assert [block.name for block in BLOCKS if block.language not in known] == []


# Commands.


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_a_command_works_as_printed(command: ShownCommand, working: WorkingFolder) -> None:
    words = words_of(command.text)
    synopsis = any(word.startswith("[") for word in words)
    if synopsis:
        words = [*(word for word in words if not word.startswith("[")), "--help"]
    program, *arguments = words
    if program == "wideseek" or program.startswith("wideseek-"):
        _run(program, [working.meant(word) for word in arguments], working)
    elif program in ("pip", "uv"):
        _check_installation(words)
    elif program == "nox":
        _check_nox(arguments)
    elif program == "pytest":
        assert (ROOT / arguments[0]).exists()
    elif program == "python" and arguments[0] == "-m":
        assert find_spec(arguments[1]) is not None
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    elif program == "bash":
        _check_script(ROOT / arguments[0], command.text)
    else:
        assert program in NOT_RUN, f"nothing here knows how to run {program!r}"


NOT_RUN = {
    "hf": "downloads a model",
    "git": "needs a remote repository",
    "mkdocs": "serves until it is stopped",
    "tensorboard": "serves until it is stopped",
}


def _run(program: str, arguments: list[str], working: WorkingFolder) -> None:
    arguments = _small(program, arguments, working)
    if "serve" in arguments[:1] and "--help" not in arguments:
        _serve(f"from {MODULES[program]} import main; main()", arguments, working)
        return
    done = working.run(program, arguments)
    # An answer that nothing supports ends with 1, and the stub's is one.
    allowed = (0, 1) if arguments[:1] == ["ask"] else (0,)
    assert done.returncode in allowed, done.stderr
    assert "Traceback" not in done.stderr


MODULES = {
    "wideseek": "wideseek_apps.main",
    "wideseek-eval": "wideseek_eval.cli",
    "wideseek-tools": "wideseek_tools.cli",
    "wideseek-index": "wideseek_tools.index.cli",
    "wideseek-judge": "wideseek_judge.cli",
}
"""Where the console commands are."""
PRELOADED = (
    "wideseek_apps.evaluation",
    "wideseek_apps.training",
    "wideseek_rl.engines.builtin.engine",
    "wideseek_rl.trainers.torch",
    *MODULES.values(),
)
"""What most commands import."""


def _small(program: str, arguments: list[str], working: WorkingFolder) -> list[str]:
    """The arguments of a command, with what makes it small, and a folder of its own."""
    if program != "wideseek" or not arguments or not {"--help", "--dry-run"}.isdisjoint(arguments):
        return arguments
    name = arguments[0]
    endpoint = any("endpoint" in word for word in arguments)
    own = f"runs/{sha256(' '.join(arguments).encode()).hexdigest()[:12]}"
    if name in SMALL:
        model = (f"policy.base_url={working.endpoint}/v1",) if endpoint else LOCAL
        folder = () if name == "ask" else (f"run.folder={own}",)
        return [*arguments, *SMALL[name], *folder, *model]
    if name == "train" and not any(word.endswith(".yaml") for word in arguments):
        return [*arguments, *TINY_TRAINING, f"folder={own}", *LOCAL]
    if name == "schedule-sim" and not any(word.startswith("run=") for word in arguments):
        return [*arguments, "steps=4"]
    only_checked = name in ("train", "sft", "schedule-sim", "convert", "average")
    return [*arguments, "--dry-run"] if only_checked else arguments


def _serve(script: str, arguments: list[str], working: WorkingFolder) -> None:
    """Starts a server, and stops it as soon as it says that it serves."""
    words = [word for word in arguments if not word.startswith("port=")]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *words, "port=0"],
        cwd=working.folder,
        env=working.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    said: list[str] = []
    for line in running.stdout:
        said.append(line)
        if "http://" in line:
            break
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=600)
    assert "http://" in "".join(said), said
    assert running.returncode in (0, 130), rest


def _check_installation(words: Sequence[str]) -> None:
    """What is installed exists, with the extras that are named."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [after for word, after in pairwise(words) if word == "--extra"]
    assert set(wanted) <= set(root["optional-dependencies"])
    for folder in [after for word, after in pairwise(words) if word in ("-e", "-r")]:
        assert (ROOT / folder).exists(), folder
    for word in words[1:]:
        name, _, extras = word.partition("[")
        if not name.startswith("wideseek"):
            continue
        project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text("utf-8"))
        offered = project["project"].get("optional-dependencies", {})
        assert set(filter(None, extras.rstrip("]").split(","))) <= set(offered), word


def _check_script(script: Path, text: str) -> None:
    """The script can be read, and knows the variables that are set in front of it."""
    subprocess.run(["bash", "-n", str(script)], check=True)
    given = re.findall(r"([A-Z_]+)=", text.partition("bash ")[0])
    known = set(re.findall(r"\$\{([A-Z_]+):-", script.read_text("utf-8")))
    assert set(given) <= known


def _check_nox(arguments: Sequence[str]) -> None:
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.M)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments  # not of pytest
    named = [word.partition("(")[0] for word in own if not word.startswith("-")]
    assert set(named) <= set(sessions)


def test_the_environment_of_the_tests_is_that_of_the_documentation(working: WorkingFolder) -> None:
    """The stub is loaded: otherwise examples would ask the internet."""
    shown = "import httpx2; print(httpx2.AsyncHTTPTransport.handle_async_request)"
    assert "_answer" in working.example(shown).stdout
    shown = "import aiohttp; print(aiohttp.ClientSession.request)"
    assert "_aiohttp_answer" in working.example(shown).stdout
    assert os.environ.get("PYTHONPATH", "") != working.environment["PYTHONPATH"]
