"""The page store with 200,000 pages: opening, looking up, memory; each in a fresh process."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from wideseek_core.progress import show
from wideseek_tools.page_store import PageStore, build_store


def url_of(number: int) -> str:
    return f"https://wiki.example/wiki/Page_{number}_of_many"


def page_lines(count: int) -> Iterator[str]:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    for number in range(count):
        text = " ".join(draw.choices(words, k=400))
        yield (
            json.dumps({"url": url_of(number), "title": f"Page {number}", "contents": text}) + "\n"
        )


def resident_mb() -> float:
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def probe(path: Path, count: int) -> None:
    """Prints milliseconds to open, p50 and p95 of a lookup, and memory before and after."""
    before, started = resident_mb(), time.perf_counter()
    with PageStore(path) as store:
        opened, after = 1000 * (time.perf_counter() - started), resident_mb()
        draw, times = random.Random(2), list[float]()
        for _ in range(20_000):
            url, begun = url_of(draw.randrange(count)), time.perf_counter()
            store.lookup(url)
            times.append(1000 * (time.perf_counter() - begun))
    times.sort()
    figures = [opened, times[len(times) // 2], times[int(len(times) * 0.95)], before, after]
    show(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 pages")
    parser.add_argument("--probe", nargs=2, metavar=("STORE", "PAGES"))
    given = parser.parse_args()
    if given.probe:
        probe(Path(given.probe[0]), int(given.probe[1]))
        return
    count = 10_000 if given.quick else 200_000
    with tempfile.TemporaryDirectory() as folder:
        pages, path = Path(folder) / "pages.jsonl", Path(folder) / "pages.sqlite"
        with pages.open("w") as file:
            file.writelines(page_lines(count))
        started = time.perf_counter()
        build_store(pages, path)
        built = time.perf_counter() - started
        command = [sys.executable, __file__, "--probe", str(path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        opened, half, most, before, after = json.loads(done.stdout)
        size = path.stat().st_size / 2**20
        show(f"{count} pages, {size:.0f} MiB, built in {built:.0f} s ({count / built:.0f} pages/s)")
        show(f"{'':24}{'measured':>10}{'wanted':>10}")
        show(f"{'open, ms':24}{opened:10.2f}{'< 50':>10}")
        show(f"{'lookup p50, ms':24}{half:10.3f}")
        show(f"{'lookup p95, ms':24}{most:10.3f}{'< 1':>10}")
        show(f"{'memory after open, MiB':24}{after:10.1f}{'< 50':>10}")
        show(f"{'of that by opening':24}{after - before:10.1f}")


if __name__ == "__main__":
    main()
