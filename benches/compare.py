"""Times two commits in alternation: compare.py BASE [HEAD] [--repeats N].

Both are checked out below target/compare/ and their `gfe` is built there, in release mode, with the sources' own lock files. HEAD
may be `.`, the program that target/release holds. The commands are fixed; CPU seconds are those of the whole command, user and
system, as wait4 tells them, so that other programs on the machine count little. The ratio is that of each turn, HEAD over BASE:
below 1, HEAD is faster.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import machine

TREES = Path("target/compare")
MODEL, DIGITS = "tests/data/mnist_decoder.safetensors", "tests/data/mnist_test_200.h5:/images"
ENCODE = ["encode", DIGITS, "-m", MODEL, "--threads", "1"]
TRAIN = ["train", "datasets/mnist.toml", "--threads", "1"]
TRAIN += [f"--set=data.input={DIGITS}", "--set=data.rows=0..200", "--set=data.validation=0", "--set=train.epochs=1"]
COMMANDS = {
    "encode, ptc": [*ENCODE, "--solver", "ptc"],
    "encode, ptc, t_end inf, gtol 1e-5": [*ENCODE, "--solver", "ptc", "--t-end", "inf", "--edm-tol", "0", "--gtol", "1e-5"],
    "encode, amd": [*ENCODE, "--solver", "amd"],
    "encode, tsit5, 8 digits": [*ENCODE, "--solver", "tsit5", "--rows", "0..8"],
    "encode, bdf, 4 digits": [*ENCODE, "--solver", "bdf", "--rows", "0..4"],
    "train, an epoch of 200 digits": TRAIN,
}


def built(commit):
    """The program of a commit, and its full name; `.` is the one in target/release."""
    if commit == ".":
        return Path("target/release/gfe").resolve(), "target/release"
    ask = ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"]
    asked = subprocess.run(ask, capture_output=True, text=True)
    if asked.returncode:
        sys.exit(f"{commit}: {asked.stderr.strip()}")
    name = asked.stdout.strip()
    kept = TREES / f"gfe-{name}"
    if not kept.exists():
        # One tree for all commits: what they have in common is compiled once.
        tree = TREES / "tree"
        if tree.exists():
            subprocess.run(["git", "-C", tree, "checkout", "--quiet", "--force", "--detach", name], check=True)
        else:
            subprocess.run(["git", "worktree", "prune"], check=True)
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, name], check=True)
        # cmake, which builds HDF5, is looked for in the tree.
        if not (tree / ".tools").exists():
            (tree / ".tools").symlink_to(Path(".tools").resolve())
        target = (TREES / "target").resolve()
        command = ["cargo", "build", "--release", "--locked", "--bin", "gfe"]
        subprocess.run(command, cwd=tree, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
        shutil.copy2(target / "release" / "gfe", kept)
    return kept.resolve(), name


def seconds(program, arguments, folder):
    """CPU seconds of a command, and what it says of its work."""
    output = folder / ("model.safetensors" if arguments[0] == "train" else "codes.h5")
    command = [program, *arguments, "-o", output, "--force", "--json"]
    told, spent = machine.run(command)
    told = json.loads(told)
    units = told.get("units_per_sample", told.get("units"))
    return spent, units


def measure(programs, repeats):
    """CPU seconds of every command by both programs, in turn, and units of work a sample."""
    runs = {name: ([], []) for name in COMMANDS}
    units = {name: [None, None] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            for name, arguments in COMMANDS.items():
                # Who goes first changes from turn to turn.
                for which in (0, 1) if repeat % 2 == 0 else (1, 0):
                    spent, units[name][which] = seconds(programs[which], arguments, Path(folder))
                    runs[name][which].append(spent)
            print(f"turn {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return runs, units


def printed(runs, units):
    lines = ["| command | BASE, CPU s | HEAD, CPU s | HEAD over BASE | units, BASE | HEAD |", "| --- | --- | --- | --- | --- | --- |"]
    for name, (base, head) in runs.items():
        ratios = [mine / theirs for theirs, mine in zip(base, head)]
        cells = [f"{statistics.median(own):.2f} [{min(own):.2f}, {max(own):.2f}]" for own in (base, head)]
        cells += [f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"]
        cells += ["" if value is None else f"{value:.1f}" for value in units[name]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a commit")
    parser.add_argument("head", nargs="?", default="HEAD", help="another, or `.` for target/release/gfe")
    parser.add_argument("--repeats", type=machine.repeats, default=5, help="5 at least")
    how = parser.parse_args()
    TREES.mkdir(parents=True, exist_ok=True)
    (base, base_name), (head, head_name) = built(how.base), built(how.head)
    before = machine.describe()
    runs, units = measure((base, head), how.repeats)
    print(printed(runs, units))
    print(f"\nBASE {base_name}, HEAD {head_name}. Medians [least, most] of {how.repeats} turns; one thread. {machine.in_words(before)}.")


if __name__ == "__main__":
    main()
