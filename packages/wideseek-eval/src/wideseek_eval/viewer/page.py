"""The page of the viewer: libraries, style, code and data in one HTML file.

Everything that tasks, models, tools and judges wrote is untrusted. It is data inside the page; the
code shows it as text, or as Markdown that was sanitized. A content security policy lets nothing
run but the page's own scripts, which it names by their hashes, and lets the page load nothing.
"""

from collections.abc import Collection, Iterable, Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path

from markupsafe import escape
from pydantic_core import to_json as encode_json

from wideseek_core.episode_records import TOKEN_FIELDS
from wideseek_core.files import write_atomically
from wideseek_core.json_text import clean_strings
from wideseek_eval.reports.pages import script_hash
from wideseek_eval.viewer.traces import Detail, Trace, read_traces

_SCRIPTS = (
    "vendor/htm-preact.js",
    "vendor/uplot.js",
    "vendor/marked.js",
    "vendor/purify.js",
    "shared.js",
    "provenance.js",
    "timeline.js",
    "tokens.js",
    "viewer.js",
)
_STYLES = ("vendor/uplot.css", "viewer.css")


def write_viewer(
    run: str, path: Path, *, steps: Collection[int] = (), limit: int | None = None
) -> int:
    """Writes the page of a run; how many rollouts it shows. Raises `DataError`."""
    traces = list(islice(read_traces(run, steps), limit))
    write_atomically(path, "".join(viewer_page(run, traces)))
    return len(traces)


def viewer_page(title: str, traces: Iterable[Trace]) -> Iterator[str]:
    """The parts of the page, in order."""
    shown = list(traces)
    scripts = [_asset(name) for name in _SCRIPTS]
    style = "".join(_asset(name) for name in _STYLES)
    yield _head(title, style, scripts)
    lines = _json([trace.line.model_dump(mode="json") for trace in shown])
    yield f'<script type="application/json" id="lines">{lines}</script>\n'
    # One line of JSON for each rollout, which is read only when it is looked at.
    yield '<script type="application/json" id="details">\n'
    for trace in shown:
        yield _json(_plain(trace.detail)) + "\n"
    yield "</script>\n"
    for script in scripts:
        yield f"<script>{script}</script>\n"
    yield "</body></html>\n"


def _head(title: str, style: str, scripts: Iterable[str]) -> str:
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(script_hash, scripts))}",
            f"style-src {script_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · WideSeek traces</title>\n"
        f"<style>{style}</style></head>\n"
        f'<body data-title="{escape(title)}"><div id="app"><noscript>'
        "The trace viewer needs JavaScript.</noscript></div>\n"
    )


def _asset(name: str) -> str:
    text = files("wideseek_eval.viewer").joinpath(name).read_text("utf-8")
    # Inside a script or style element nothing else can end it.
    assert "</script" not in text.lower()
    assert "</style" not in text.lower()
    return text


def _plain(detail: Detail) -> object:
    """The detail as JSON values, without token ids, which nothing shows."""
    turns = {"__all__": set(TOKEN_FIELDS)}
    exclude = {"episode": {"trajectories": {"__all__": {"turns": turns}}}}
    return detail.model_dump(mode="json", exclude=exclude)


def _json(value: object) -> str:
    """JSON that no text inside can end the script element of."""
    text = encode_json(clean_strings(value), inf_nan_mode="null").decode()
    return text.replace("<", "\\u003c")
