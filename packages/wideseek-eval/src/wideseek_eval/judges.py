"""Finding a judge that another package brings, without knowing that package.

A package offers one under the entry-point group `wideseek.judges`: a callable
`(mode, judge, settings)` that gives an async context manager of a `wideseek_core.Judge`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from typing import cast

from pydantic import JsonValue

from wideseek_core import ConfigError, Judge

GROUP = "wideseek.judges"

OpenJudge = Callable[[str, str, Mapping[str, JsonValue]], AbstractAsyncContextManager[Judge]]
"""Opens a judge.

`mode` is how tables are scored (`official`, `strict`, `reward`), `judge` who decides on cells
(`exact`, `normalized`, `llm`). Settings are the other keys of a command's `judge`, whose meaning is
up to the package; their scalars are texts as the user wrote them, or null. Raises `ConfigError` for
what it does not know.
"""


def open_judge(
    mode: str,
    judge: str,
    settings: Mapping[str, JsonValue] | None = None,
    *,
    group: str = GROUP,
) -> AbstractAsyncContextManager[Judge]:
    """The judge of an installed package.

    With several such packages, `NAME/judge` chooses by the entry point's name. Raises
    `ConfigError` if there is none.
    """
    found = {point.name: point for point in entry_points(group=group)}
    if not found:
        raise ConfigError("no judge is installed: pip install wideseek-judge")
    name, slash, rest = judge.partition("/")
    if slash and name in found:
        judge = rest
    else:
        name = sorted(found)[0]
    opener = cast(OpenJudge, found[name].load())
    return opener(mode, judge, settings or {})
