"""Finding a judge that another package brings, without knowing that package.

A package offers one under the entry-point group `wideseek.judges`: a callable
`(mode, judge, settings)` that gives an async context manager of a `wideseek_core.Judge`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from typing import cast

from wideseek_core import ConfigError, Judge

GROUP = "wideseek.judges"

OpenJudge = Callable[[str, str, Sequence[str]], AbstractAsyncContextManager[Judge]]
"""Opens a judge.

`mode` is how tables are scored (`official`, `strict`, `reward`), `judge` who decides on cells
(`exact`, `normalized`, `llm`). Settings are `key=value` or YAML files, whose meaning is up to the
package. Raises `ConfigError` for what it does not know.
"""


def open_judge(
    mode: str, judge: str, settings: Sequence[str] = (), *, group: str = GROUP
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
    return opener(mode, judge, settings)
