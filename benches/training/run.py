"""Runs an experiment on training and writes its table and figure: run.py EXPERIMENT [--gfe PROGRAM] [--out FOLDER] [--jobs N].

Every training is `gfe train RUN_FILE` with other settings, one thread each, and is kept: an interrupted experiment goes on where
it stopped. The learning rate of each method is the one of three with the lowest validation loss, and so is its regime, a constant
rate or one that falls along a cosine with weights that decay: the same choices for all. With another number of digits the regime
is the one that was best on 1,008, with other data the rate is too. Losses are those of test samples that neither training nor these choices have
seen. CPU seconds are those of the whole training command.
"""

import argparse
import hashlib
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py

HERE = Path(__file__).resolve().parent
RATES = ["1e-3", "3e-3", "1e-2"]
REGIMES = {"constant": (), "cosine, decay 2": ("train.schedule=cosine", "optimizer=adamw", "weight_decay=2")}
CHOICES = [(rate, regime) for regime in REGIMES for rate in RATES]
# The exit code of a training that diverges: such a choice of rate and regime is none.
DIVERGED = 1
BASELINES = ["pca", "pca/1e4", "logistic-pca", "autoencoder", "auto-decoder"]
NAMES = {
    "steady": "steady state, t_end 1e4",
    "steady-inf": "steady state, t_end inf",
    "amd": "authors' AMD",
    "amd-adjoint": "authors' AMD, adjoint",
    "nesterov": "authors' AMD, second order",
    "autoencoder": "autoencoder",
    "autoencoder/own": "autoencoder, chosen by its own encoder",
    "auto-decoder": "auto-decoder",
    "logistic-pca": "logistic PCA",
    "pca": "PCA",
    "pca/1e4": "PCA, codes with t_end 1e4",
}


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Data:
    """Where samples come from: training rows, validation rows, test rows, and which labels."""

    def __init__(self, name, rows, select=None, test_select=None):
        self.name, self.rows, self.select, self.test_select = name, rows, select, test_select

    def train_flags(self, n):
        sets = [f"data.input=target/datasets/{self.name}-train.h5:/images", f"data.rows=0..{self.rows or n}"]
        if self.select:
            return sets + [f"data.select={self.select}", "data.validation_rows=50000..50600"]
        return sets + ["data.validation_rows=50000..50300"]

    def key(self, n):
        return f"{self.name}{n}" + ("-shift" if self.select else "")


MNIST, FASHION = Data("mnist", None), Data("fashion", None)
# Half of the labels, so that about half of the rows are left.
SHIFT = Data("mnist", 2000, "labels=0,1,2,3,4", "labels=5,6,7,8,9")


class Runner:
    def __init__(self, gfe, out, jobs):
        self.gfe, self.out, self.pool = gfe, out, ThreadPoolExecutor(jobs)
        out.mkdir(parents=True, exist_ok=True)

    def command(self, arguments):
        """Runs gfe, and gives what it printed and the CPU seconds that it took."""
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told, said = child.stdout, child.stderr
        # Both pipes are read by threads of the pool's process: neither may fill up.
        with ThreadPoolExecutor(1) as reader:
            errors = reader.submit(said.read)
            text = told.read()
            said_text = errors.result()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode == DIVERGED:
            text = "{}"
        elif child.returncode != 0:
            raise SystemExit(f"{shlex.join(map(str, arguments))}\n{said_text}")
        return text, usage.ru_utime + usage.ru_stime

    def cached(self, path, arguments, read):
        """The JSON of a command, kept in `path` with the command itself and hashes of the program and of the file that it reads."""
        key = {"command": shlex.join(map(str, arguments[1:])), "gfe": sha256(self.gfe), "read": sha256(read)}
        if path.exists():
            kept = json.loads(path.read_text())
            if all(kept.get(name) == value for name, value in key.items()):
                return kept
        text, cpu = self.command(arguments)
        kept = {**key, "cpu": cpu, **json.loads(text)}
        path.write_text(json.dumps(kept))
        return kept

    def train(self, run_file, data, n, rate, seed, sets, regime):
        method, _, variant = run_file.partition("/")
        sets = [*sets, *REGIMES[regime]]
        name = f"{data.key(n)}-{run_file.replace('/', '-')}-{rate}-{seed}" + "".join(f"-{s.split('=')[1]}" for s in sets)
        model = self.out / f"{name}.safetensors"
        flags = data.train_flags(n) + list(sets) + [f"train.seed={seed}"]
        if method != "pca":
            flags += [f"learning_rate={rate}"]
        if variant == "own":
            flags += ["judged_by=encoder"]
        arguments = [self.gfe, "train", HERE / f"{method}.toml", "-o", model, "--force", "--threads", "1", "--json"]
        for flag in flags + ["data.held_out=0"]:
            arguments += ["--set", flag]
        found = self.cached(self.out / f"{name}.json", arguments, HERE / f"{method}.toml")
        if "validation_loss" not in found:
            return {"validation_loss": math.inf}
        if found["validation_loss"] is None:
            found = {**found, "validation_loss": self.evaluate(model, data, run_file, "validation", n)["loss"]}
        return {**found, "model": model, "rate": rate, "regime": regime, "seed": seed, "n": n}

    def evaluate(self, model, data, run_file, part, n=None):
        """Losses of a model on 300 samples of the test set or more, or on those that trainings validate with."""
        tag = f"{part}-{data.test_select or ''}" if part == "shifted" else part
        arguments = [self.gfe, "evaluate", "-m", model, "--threads", "1", "--json"]
        if part == "validation":
            arguments += [f"target/datasets/{data.name}-train.h5:/images", "--rows", "50000..50300"]
        else:
            arguments += [f"target/datasets/{data.name}-test.h5:/images"]
            # The first 700 test digits hold 300 of either half of the labels.
            few, many = ("0..640", "0..6000") if data.select else ("0..300", "0..3000")
            arguments += ["--rows", many if part == "more" else few]
            select = data.test_select if part == "shifted" else data.select
            if select:
                arguments += ["--select", select]
        method, _, variant = run_file.partition("/")
        if method == "pca":
            arguments += ["--score", "bce"] + (["--t-end", variant] if variant else [])
        return self.cached(model.with_name(f"{model.stem}.{tag}{variant}.json"), arguments, model)

    def best(self, run_file, data, n, seeds, sets=(), choices=CHOICES):
        """Trainings of the first seed with every choice of rate and regime, and those of the other seeds with the best of these."""
        if run_file.startswith("pca"):
            choices = [("-", "constant")]
        train = lambda choice, seed: self.pool.submit(self.train, run_file, data, n, choice[0], seed, sets, choice[1])
        jobs = {choice: train(choice, seeds[0]) for choice in choices}

        def result():
            loss = lambda choice: jobs[choice].result()["validation_loss"]
            rate, regime = min(choices, key=loss)
            others = [train((rate, regime), seed) for seed in seeds[1:]]
            chosen = [jobs[rate, regime].result(), *(job.result() for job in others)]
            parts = ["test", "more"] + (["shifted"] if data.test_select else [])
            tested = {part: [self.evaluate(f["model"], data, run_file, part) for f in chosen] for part in parts}
            return {"run_file": run_file, "rate": rate, "regime": regime, "chosen": chosen, "tested": tested, "n": n}

        return result


def spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return ""
    text = f"{statistics.fmean(values):.4f}"
    return text + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else "")


def table(rows, part="test"):
    parts = ["held_out", "encoder", "encoder_held_out", "hybrid", "hybrid_held_out"]
    head = ["method", "images", "learning rate", "regime", "seeds", "loss", "of 3,000", "held-out values", "own encoder", "held-out", "from its codes", "held-out", "images seen", "units an image", "CPU ms an image"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        chosen, tested = row["chosen"], row["tested"][part]
        # A method whose best weights are its last might have gone on.
        cut = any(f["best_images"] == f["images"] for f in chosen)
        seen = [f["best_images"] or f["images"] for f in chosen]
        units = [f["units"] for f in chosen if f["units"] is not None]
        cells = [
            NAMES[row["run_file"]],
            str(row["n"]),
            row["rate"],
            row["regime"],
            str(len(chosen)),
            spread([t["loss"] for t in tested]),
            spread([t["loss"] for t in row["tested"]["more"]]) if part == "test" else "",
            *(spread([t[part]["loss"] if t[part] else None for t in tested]) for part in parts),
            f"{statistics.fmean(seen):.0f}" + (" (all)" if cut else ""),
            f"{statistics.fmean(units):.0f}" if units else "",
            f"{1e3 * statistics.fmean(f['cpu'] / f['images'] for f in chosen):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sets_for(n, run_file):
    """How long a training may take at this number of images, and how often it is validated."""
    if run_file.startswith("pca"):
        return ()
    if run_file.partition("/")[0] in BASELINES:
        # Long after the validation loss has stopped improving at a good learning rate; the table marks whom it cuts.
        return (f"validate_samples={max(4000, 4 * n)}", f"epochs={max(50, 200_000 // n)}")
    return ("epochs=16",) if n >= 1000 else (f"epochs={24000 // n}", f"validate_every={max(1, 500 // n)}")


def settled(runner, methods):
    """The rate and the regime of each method that are best on 1,008 digits."""
    asked = {method: runner.best(method, MNIST, 1008, [1], sets_for(1008, method)) for method in methods}
    found = {method: result() for method, result in asked.items()}
    return {method: (best["rate"], best["regime"]) for method, best in found.items()}


def efficiency(runner, sizes=(100, 300, 1008, 4000), seeds=5):
    """Every method until its validation loss stops improving."""
    methods, rows = ["steady", *BASELINES], []
    best = settled(runner, methods)
    rates = {method: [(rate, best[method][1]) for rate in RATES] for method in methods}
    for n in sizes:
        own = lambda method: range(1, 1 + (seeds if n == 1008 and method == "steady" else 1))
        ask = lambda method, choices: runner.best(method, MNIST, n, list(own(method)), sets_for(n, method), choices)
        asked = [ask(method, CHOICES if n == 1008 else rates[method]) for method in methods]
        if n == 1008:
            asked.append(ask("autoencoder/own", rates["autoencoder"]))
        rows += [result() for result in asked]
    return rows


def compared(runner, methods, passes, data=MNIST, n=1008):
    """Methods over the same passes, and every baseline until it stops improving; one seed. Over a few passes the methods have
    constant rates only, and not the largest: a training by amd takes minutes a pass, at 1e-2 many. Other data take rate and regime that are best on 1,008 digits."""
    sets = {method: (f"epochs={passes}",) for method in methods} | {method: sets_for(n, method) for method in BASELINES}
    choices = {} if data is MNIST else {method: [best] for method, best in settled(runner, sets).items()}
    choices |= {method: [(rate, "constant") for rate in RATES[:2]] for method in methods if passes < 16}
    asked = [runner.best(method, data, n, [1], own, choices.get(method, CHOICES)) for method, own in sets.items()]
    return [result() for result in asked]


EXPERIMENTS = {
    "efficiency": ("Losses against the number of distinct images", efficiency),
    "baselines": ("1,008 distinct images: every method until its validation loss stops improving", lambda r: efficiency(r, sizes=(1008,))),
    "autoencoder": ("Gradient-flow encoding against an autoencoder, 16 passes", lambda r: compared(r, ["steady"], 16)),
    "solvers": ("Training by amd and by ptc, 2 passes", lambda r: compared(r, ["steady", "steady-inf", "amd"], 2)),
    "gradients": ("The approximate gradient and the adjoint, 2 passes", lambda r: compared(r, ["amd", "amd-adjoint", "steady"], 2)),
    "orders": ("Flows of first and of second order, 2 passes", lambda r: compared(r, ["amd", "nesterov", "steady"], 2)),
    "single-pass": ("One pass over the data: the speed of optimization only", lambda r: compared(r, ["steady", "steady-inf", "amd"], 1)),
    "fashion": ("Clothes instead of digits, 16 passes", lambda r: compared(r, ["steady"], 16, FASHION)),
    "shift": ("Trained on digits 0 to 4, 16 passes", lambda r: compared(r, ["steady"], 16, SHIFT, 1014)),
}


def labelled(out, row):
    """The history of a row under its method's name, which the figure shows."""
    named = out / f"{NAMES[row['run_file']].replace('/', ' ')}.history.h5"
    named.write_bytes(Path(row["chosen"][0]["history"]).read_bytes())
    with h5py.File(named, "a") as file:
        file.attrs.modify("title", NAMES[row["run_file"]])
    return named


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--gfe", type=Path, default=Path("target/release/gfe"))
    parser.add_argument("--out", type=Path, default=Path("target/training"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    runner = Runner(asked.gfe, asked.out, asked.jobs)
    title, run = EXPERIMENTS[asked.experiment]
    rows = run(runner)
    text = f"{title}. Losses of test samples.\n\n{table(rows)}\n"
    if "shifted" in rows[0]["tested"]:
        text += f"\nDigits 5 to 9, which no training has seen:\n\n{table(rows, 'shifted')}\n"
    (asked.out / f"{asked.experiment}.md").write_text(text)
    figure = asked.out / f"{asked.experiment}.png"
    drawn = [labelled(asked.out, row) for row in rows if row["chosen"][0].get("history") and 1000 <= row["n"] < 2000]
    subprocess.run([asked.gfe, "plot", "training", *dict.fromkeys(drawn), "-o", figure, "--force"], check=True)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
