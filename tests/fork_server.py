"""Runs commands in forks of one process that has imported what they need.

Importing is most of what starting a command costs. As a script, this file is that process:

    python tests/fork_server.py MODULE ...

imports the modules, and reads requests, one JSON object a line. Each runs in a fork of its own,
like in an interpreter of its own but for the imports; the answer is its exit code.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

LIMIT_S = 600
"""Seconds after which a command is killed."""


class ForkServer:
    """The starter's side. Use with `with`."""

    def __init__(
        self, modules: Iterable[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def main(
        self, module: str, arguments: Sequence[str], output: Path
    ) -> subprocess.CompletedProcess[str]:
        """Runs `main` of a module with arguments; `output` is a folder for what it prints."""
        return self._run({"module": module, "arguments": list(arguments)}, output)

    def script(self, text: str, output: Path) -> subprocess.CompletedProcess[str]:
        """Runs a script, in which warnings are errors."""
        return self._run({"script": text, "arguments": []}, output)

    def _run(self, request: dict[str, Any], output: Path) -> subprocess.CompletedProcess[str]:
        out, err = output / "out.txt", output / "err.txt"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        texts = out.read_text("utf-8"), err.read_text("utf-8")
        return subprocess.CompletedProcess(request["arguments"], code, *texts)


def requested() -> dict[str, Any] | None:
    """In each fork, what it is to run; None in the first process, when there is no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.close()
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()
    return None


def run(request: dict[str, Any]) -> None:
    """Runs what is requested; its end is that of this process."""
    signal.alarm(LIMIT_S)
    for number, name in enumerate((os.devnull, request["out"], request["err"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115 - it stays open to the end
    if "module" in request:
        sys.argv = [request["module"], *request["arguments"]]
        importlib.import_module(request["module"]).main()
        return
    warnings.simplefilter("error")
    sys.argv, sys.modules["__main__"] = ["-c"], ModuleType("__main__")
    exec(compile(request["script"], "<example>", "exec"), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    for imported in sys.argv[1:]:
        importlib.import_module(imported)
    gc.collect()
    gc.freeze()  # so that forks do not copy what they only look through
    if (asked := requested()) is not None:
        run(asked)
