"""Makes a table of what criterion measured: table.py [CRITERION FOLDER] [TABLE].

Reads `new/estimates.json` and `new/benchmark.json` of every benchmark, and `units.json`, which benches/support leaves there. CPU
time is the median, with the bounds of its confidence interval of 95%. Beside the speed of the units stands what part of the best
plain product of the same run and precision it is: of the same number of columns for products, of any number for all else.
"""

import json
import sys
import time
from pathlib import Path

import machine
from plain import UNIT

ELEMENTS = {"steps": "steps", "encode": "digits", "train": "images"}


def span(nanoseconds):
    """A time in a unit that suits it."""
    for size, unit in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")]:
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def benchmarks(folder):
    """Every benchmark that criterion knows: its identity, time, and elements."""
    for path in sorted(folder.glob("**/new/benchmark.json")):
        about = json.loads(path.read_text())
        median = json.loads(path.with_name("estimates.json").read_text())["median"]
        age = time.time() - path.stat().st_mtime
        yield about["full_id"], about["group_id"], median, about["throughput"]["Elements"], age


def precision(name):
    """Of the decoder's products: `mixed` is single away from codes."""
    return "f32" if "f32" in name or "mixed" in name else "f64"


def best_plain(found, name, group):
    """GFLOP/s of the best plain product to compare with; none where none was measured."""
    columns = name.rsplit("/", 1)[-1] if group.startswith("products") else None
    rates = [
        UNIT * elements / median["point_estimate"]
        for other, kind, median, elements, _ in found
        if kind == f"plain {precision(name)}" and columns in (None, other.rsplit("/", 1)[-1])
    ]
    return max(rates, default=None)


def order(item):
    """By group, then by name with widths as numbers."""
    name, group = item[0], item[1]
    return group, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("/")]


def table(folder):
    kept = folder / "units.json"
    units = json.loads(kept.read_text()) if kept.exists() else {}
    lines = [
        "| benchmark | elements | CPU time | of one element | elements a CPU second | units an element | GFLOP/s of units | of plain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    oldest = 0.0
    found = sorted(benchmarks(folder), key=order)
    for name, group, median, elements, age in found:
        spent, bounds = median["point_estimate"], median["confidence_interval"]
        oldest = max(oldest, age)
        each, kind = units.get(name), ELEMENTS.get(group, "columns")
        # A benchmark that was interrupted has left none.
        rate = UNIT * each * elements / spent if each is not None else None
        plain = best_plain(found, name, group)
        part = f"{rate / plain:.0%}" if rate and plain and not group.startswith("plain") else ""
        work = f"{each:.4g} | {rate:.1f} | {part}" if each is not None else " | | "
        lines.append(
            f"| {name} | {elements} {kind} | {span(spent)} [{span(bounds['lower_bound'])}, {span(bounds['upper_bound'])}] "
            f"| {span(spent / elements)} | {1e9 * elements / spent:.3g} | {work} |"
        )
    return "\n".join(lines), oldest


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "target/criterion")
    to = Path(sys.argv[2] if len(sys.argv) > 2 else "target/bench/table.md")
    lines, oldest = table(folder)
    text = f"{machine.in_words(machine.describe())} at the end.\nThe oldest figure is {oldest / 60:.0f} minutes old.\n\n{lines}\n"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
