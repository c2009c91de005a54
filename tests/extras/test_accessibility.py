"""Reports, comparisons and the trace viewer in Chromium, checked by axe-core.

`AXE_CORE` names the file `axe.min.js` of the npm package; `nox -s viewers` installs it.
"""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from wideseek_eval.cli import run

ROOT = Path(__file__).parents[2]
SPEC = spec_from_file_location("demo_run", ROOT / "packages/wideseek-eval/tests/demo_run.py")
assert SPEC is not None
assert SPEC.loader is not None
DEMO = module_from_spec(SPEC)
SPEC.loader.exec_module(DEMO)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("AXE_CORE", "")

pytestmark = [
    pytest.mark.viewers,
    pytest.mark.skipif(not AXE or CHROMIUM is None, reason="needs Chromium and axe-core"),
]

CHECK = """
addEventListener("load", () => setTimeout(async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const shown = found.violations.map(({ id, impact, nodes }) => [id, impact, nodes[0].html]);
  const place = document.createElement("pre");
  place.id = "axe";
  place.textContent = JSON.stringify({ passes: found.passes.length, violations: shown });
  document.body.append(place);
}, 300));
"""


def violations(page: Path, profile: Path, *, dark: bool, fragment: str = "") -> Any:
    """What axe finds on a page: rules that passed, and those that did not."""
    assert CHROMIUM is not None
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    checked = page.with_name(f"checked.{page.name}")
    scripts = f"<script>{Path(AXE).read_text('utf-8')}</script><script>{CHECK}</script>"
    head, end, _ = text.rpartition("</body>")  # libraries inside may hold one, too
    checked.write_text(f"{head}{scripts}{end}</html>", "utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom"),
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        *("--virtual-time-budget=20000", f"file://{checked}{fragment}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    (found,) = re.findall(r'<pre id="axe">(.*?)</pre>', done.stdout)
    return json.loads(unescape(found))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing_on_our_pages(tmp_path: Path, dark: bool) -> None:
    for name in ("before", "after"):
        await DEMO.write_run(tmp_path / "train" / name, 4)
    run(["report", str(tmp_path / "train")])
    run(["view", str(tmp_path / "train" / "after")])
    after = tmp_path / "train" / "after"
    pages = [(after / "report.html", ""), (tmp_path / "train" / "comparison.html", "")]
    pages += [(after / "traces.html", ""), (after / "traces.html", "#r1")]
    for page, fragment in pages:
        found = violations(page, tmp_path / "profile", dark=dark, fragment=fragment)
        assert found["violations"] == [], page.name
        assert found["passes"] > 20
