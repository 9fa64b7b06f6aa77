"""Runs the program on hostile files: run_corpus.py TASK GFE FOLDER MODEL PLUGINS

TASK is `cases` (the corpus that make_corpus.py has made: exit code, words, time and memory of every case), `opens` (the same
under strace: which files are opened), or `mutated` (valid files with seeded damage: nothing but an exit code, in time and
memory)."""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file

task, gfe, folder, model, plugins = sys.argv[1], *map(os.path.abspath, sys.argv[2:6])
# Of processor time: the machine may be busy with other things.
SECONDS = 2.0
MEBIBYTES = 200
# Of the clock, for what waits and does not compute.
PATIENCE = 30.0
out = os.path.join(folder, "out")
os.makedirs(out, exist_ok=True)


def run(arguments, env, number, before=(), patience=PATIENCE):
    """Exit code (negative for a signal, None for a hang), what was said, seconds of processor time and peak MiB."""
    said = os.path.join(out, f"said-{number}")
    with open(said, "wb") as stderr:
        started = time.monotonic()
        child = subprocess.Popen(
            [*before, gfe, *arguments], stdout=subprocess.DEVNULL, stderr=stderr, stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "HDF5_PLUGIN_PATH": os.path.join(folder, "plugins"), **env}
        )
        hung = False
        while True:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - started > patience and not hung:
                hung = True
                # Also what strace has started.
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(0.002)
        child.returncode = 0
    code = None if hung else os.waitstatus_to_exitcode(status)
    text = Path(said).read_bytes().decode(errors="replace")
    return code, text, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def prepared(number, case):
    output = os.path.join(out, f"out-{number}")
    for name in os.listdir(out):
        if name.startswith(f"out-{number}"):
            os.unlink(os.path.join(out, name))
    path = os.path.join(folder, case["file"])
    words = {"{f}": path, "{o}": output, "{m}": model, "{p}": plugins}
    filled = lambda text: re.sub(r"\{[fomp]\}", lambda found: words[found.group()], text)
    return [filled(word) for word in case["command"]], {key: filled(value) for key, value in case["env"].items()}, path, output


def check(number, case):
    arguments, env, _, _ = prepared(number, case)
    code, said, seconds, memory = run(arguments, env, number)
    faults = []
    if code != case["code"]:
        faults.append(f"exit code {code} and not {case['code']}")
    faults += [f"says nothing of {word!r}" for word in case["says"] if word not in said]
    if "panicked" in said or "\x1b" in said:
        faults.append("panics, or lets a file speak to the terminal")
    if seconds > SECONDS or memory > MEBIBYTES:
        faults.append(f"takes {seconds:.1f} s and {memory:.0f} MiB")
    return faults and f"{case['file']}: gfe {' '.join(arguments)}: {'; '.join(faults)}: {said[:600]}", seconds, memory


def opened(arguments, env, number):
    """Paths that were opened, and the programs started; with what became of it."""
    log = os.path.join(out, f"trace-{number}")
    trace = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=open,openat,openat2,execve,connect", "-o", log]
    run(arguments, env, number, trace)
    calls = re.findall(r'^\d+ +(\w+)\((?:AT_FDCWD\S*, )?"([^"]*)"', Path(log).read_text(errors="replace"), re.M)
    os.unlink(log)
    return {(name, os.path.normpath(path)) for name, path in calls}


def foreign(number, case, usual):
    arguments, env, path, output = prepared(number, case)
    allowed = [os.path.realpath(path), path, output, model, plugins]
    allowed += [os.path.realpath(os.path.join(plugins, name)) for name in os.listdir(plugins)]
    if "--allow-external" in arguments:
        allowed.append(os.path.join(folder, "target.h5"))
        allowed.append(os.path.join(folder, "secret.txt"))
    allowed += [word for word in arguments if word.startswith(os.path.join(folder, "fine.h5"))]
    own = re.compile(re.escape(os.path.dirname(output)) + r"(/\.?out-.*)?$")
    strange = []
    for call, name in opened(arguments, env, number) - usual:
        named = any(name == known or name.startswith(known + "/") for known in allowed)
        if not (named or own.match(name) or name.startswith(("/proc/self/", "/sys/"))):
            strange.append(f"{call} {name}")
    return strange and f"{case['file']}: gfe {' '.join(arguments)}: {strange}"


def cases():
    return list(enumerate(json.loads(Path(folder, "cases.json").read_text())))


def parallel(work, items):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda item: work(*item), items))


def run_cases():
    results = parallel(check, cases())
    print(f"{len(results)} cases, at most {max(r[1] for r in results):.2f} s and {max(r[2] for r in results):.0f} MiB")
    return [result[0] for result in results if result[0]]


def run_opens():
    usual = opened(["--version"], {}, "usual")
    fine = next(case for _, case in cases() if case["file"] == "fine.h5")
    arguments, env, path, output = prepared("usual", fine)
    # Libraries of the system, settings of its loader, and what its C library looks at.
    usual |= {(call, name) for call, name in opened(arguments, env, "usual") if not name.startswith(folder)}
    results = parallel(lambda number, case: foreign(number, case, usual), cases())
    print(f"{len(results)} cases under strace")
    return [result for result in results if result]


def valid(name, **how):
    """A file with every kind of structure that is read, and hardly any data, so that damage meets structure."""
    path = os.path.join(folder, name)
    with h5py.File(path, "w", **how) as f:
        data = np.tile(np.linspace(0, 1, 28, dtype="f4"), (12, 28, 1))
        images = f.create_dataset("images", data=data, chunks=(4, 28, 28), compression="gzip", shuffle=True, fletcher32=True)
        f["labels"] = np.arange(12)
        f["name"] = [f"object {i}" for i in range(12)]
        f["short"] = np.array([b"text"] * 12)
        f["wavelength"] = np.linspace(0, 1, 28)
        f["wavelength"].make_scale("wavelength")
        images.dims[2].attach_scale(f["wavelength"])
        images.dims[1].label = "row"
        f.create_group("more")["x"] = np.arange(5.0)
    return path


def mutate(data, seed):
    chance = random.Random(seed)
    data = bytearray(data)
    kind = chance.randrange(4)
    if kind == 3:
        return data[: chance.randrange(len(data))]
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.choice([0, 255, 1, 128, chance.randrange(256)])
        else:
            length = chance.choice([2, 4, 8])
            data[at : at + length] = chance.choice([b"\0" * length, b"\xff" * length, chance.randbytes(length)])
    return data


def run_mutated():
    count = int(os.environ.get("GFE_MUTATIONS", "150"))
    encode = ["encode", "{f}:/images", "-m", model, "-o", "{o}", "--keep", "labels", "--keep", "name", "--keep", "short"]
    encode += ["--threads", "1", "--max-steps", "2", "--fail-above", "1"]
    inputs = [["inspect", "{f}"], encode]
    encoded = os.path.join(folder, "encoded.h5")
    source = valid("old.h5", libver="earliest")
    subprocess.run([gfe, "encode", source + ":/images", "-m", model, "-o", encoded, "--reconstruction", "--force"], check=True, stderr=subprocess.DEVNULL)
    outputs = [["inspect", "{f}"], ["decode", "{f}", "-m", model, "-o", "{o}"], ["decode", "{f}:/z", "-m", model, "-o", "{o}"]]
    outputs.append(["plot", "reconstructions", "{f}", "--input", source + ":/images", "-o", "{o}.png"])
    bases = [
        (source, inputs),
        (valid("middle.h5", libver=("v108", "v110")), inputs),
        (valid("new.h5", libver="latest"), inputs),
        (encoded, outputs),
        (model, [["inspect", "{f}"], ["encode", source + ":/images", "-m", "{f}", "-o", "{o}", "--max-steps", "2"]]),
    ]
    bases += [(path, [["plot", "training", "{f}", "-o", "{o}.svg"]]) for path in [os.environ.get("GFE_HISTORY")] if path]
    tasks = []
    for base, commands in bases:
        data = Path(base).read_bytes()
        # Of a file of weights the header is the structure.
        header = 8 + int.from_bytes(data[:8], "little") if base == model else len(data)
        for i in range(count):
            tasks.append((f"m{len(tasks)}", (base, data, header, f"{Path(base).name} {i}", commands)))

    def one(number, task):
        base, data, header, seed, commands = task
        damaged = mutate(data[:header], seed) + (data[header:] if header < len(data) else b"")
        name = f"mutated-{number}{Path(base).suffix}"
        Path(folder, name).write_bytes(damaged)
        found = []
        for command in commands:
            arguments, env, _, _ = prepared(number, {"file": name, "command": command, "env": {}})
            code, said, seconds, memory = run(arguments, env, number)
            # 1: too many rows have failed. 70 and 101 are faults of the program.
            good = code in (0, 1, 65, 66, 78) and (code in (0, 1) or name in said)
            if not good or seconds > SECONDS or memory > MEBIBYTES or "panicked" in said:
                found.append(f"{seed}: gfe {command}: code {code}, {seconds:.1f} s, {memory:.0f} MiB: {said[:400]}")
        if not found:
            os.unlink(os.path.join(folder, name))
        return found, len(commands)

    results = parallel(one, tasks)
    print(f"{len(results)} damaged files, {sum(result[1] for result in results)} runs")
    return [fault for result in results for fault in result[0]]


def run_chunks():
    """Chunks longer than a block of rows, and more bytes along a row of them than HDF5's own cache has."""
    path = os.path.join(folder, "bands.h5")
    with h5py.File(path, "w") as f:
        d = f.create_dataset("images", (4600, 28, 28), "f4", chunks=(4000, 28, 4), compression="gzip")
        d[:] = np.tile(np.linspace(0, 1, 28, dtype="f4"), (4600, 28, 1))
        chunks = sorted(d.id.get_chunk_info(i).byte_offset for i in range(d.id.get_num_chunks()))
        assert len(chunks) == 14
    faults = []
    output = os.path.join(out, "bands")
    # A decoder of one layer takes no time.
    small = os.path.join(folder, "small.safetensors")
    dense = {"decoder": "dense", "latent": 1, "layers": [784], "activation": "elu", "output": "values"}
    tensors = {"decoder.0.weight": np.linspace(0, 1, 784).reshape(784, 1), "decoder.0.bias": np.zeros(784)}
    save_file(tensors, small, metadata={"gfe.decoder": json.dumps(dense)})
    encode = ["encode", path, "-m", small, "-o", output, "--force", "--max-steps", "1", "--fail-above", "1"]
    for arguments in [["convert", path, output, "--force"], encode]:
        log = os.path.join(out, "trace-chunks")
        trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-e", "trace=pread64", "-o", log]
        code, said, _, _ = run(arguments, {}, "chunks", trace, 300)
        if code != 0:
            faults.append(f"{arguments[0]}: {code}: {said}")
        reads = re.findall(rf"pread64\(\d+<{re.escape(path)}>, .*, (\d+)\) = ", Path(log).read_text())
        found = sorted(int(place) for place in reads if int(place) in chunks)
        if found != chunks:
            faults.append(f"{arguments[0]} read {len(found)} chunks of {len(chunks)}: {found}")
    return faults


def run_locks():
    path = os.path.join(folder, "fine.h5")
    faults = []
    for when, locks in [(None, True), ("auto", True), ("on", True), ("off", False)]:
        flag = [] if when is None else ["--hdf5-locking", when]
        log = os.path.join(out, "trace-locks")
        run(["inspect", path, *flag], {}, "locks", ["strace", "-f", "-qq", "-y", "-e", "trace=flock", "-o", log])
        if (f"<{path}>" in Path(log).read_text()) != locks:
            faults.append(f"--hdf5-locking {when}: {Path(log).read_text()!r}")
        with open(path) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            code, said, _, _ = run(["inspect", path, *flag], {}, "locks")
            if code != (75 if locks else 0) or (locks and "--hdf5-locking off" not in said):
                faults.append(f"--hdf5-locking {when} on a locked file: {code}: {said}")
    return faults


faults = {"chunks": run_chunks, "locks": run_locks, "cases": run_cases, "opens": run_opens, "mutated": run_mutated}[task]()
for fault in faults:
    print(fault, file=sys.stderr)
sys.exit(bool(faults))
