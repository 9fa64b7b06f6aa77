"""What a measurement has to say of the machine that it was made on. Standard library alone."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path


def lscpu():
    """The lines of lscpu by name; none where there is no such program."""
    try:
        told = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in told.splitlines())}


def describe():
    """Processor, cores, caches, vector instructions, memory, load and system, as a dictionary."""
    told = lscpu()
    flags = told.get("Flags", "").split()
    vectors = [name for name in ("avx512f", "avx2", "fma") if name in flags]
    names = ["L1d cache", "L2 cache", "L3 cache"]
    memory = next((line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    return {
        "processor": told.get("Model name", platform.processor()),
        "family_model": f"{told.get('CPU family', '?')}/{told.get('Model', '?')}",
        "cores": os.cpu_count(),
        "vectors": vectors,
        "caches": {name.split()[0]: told[name] for name in names if name in told},
        "memory_gib": round(int(memory) / 2**20, 1),
        "load": list(os.getloadavg()),
        "system": platform.platform(),
    }


def repeats(text):
    """The number of turns that a command line asks for; an argument's type."""
    count = int(text)
    if count < 5:
        raise argparse.ArgumentTypeError("medians are of 5 turns at least")
    return count


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def in_words(machine):
    """The description in a line."""
    caches = ", ".join(f"{name} {size.split(' (')[0]}" for name, size in machine["caches"].items())
    load = ", ".join(f"{load:.2f}" for load in machine["load"])
    return (
        f"{machine['cores']} cores of {machine['processor']} (family/model {machine['family_model']}, {' '.join(machine['vectors'])}; "
        f"{caches}; {machine['memory_gib']} GiB), load {load}"
    )


def run(command):
    """What a command prints, and its CPU seconds, user and system; ends the program with what it says where it fails."""
    told, spent, _ = measured(command)
    return told, spent


def measured(command, started=lambda process: None):
    """The same, and the peak memory in MiB of the command or of one that it ran; calls `started` with the process's number.

    It is not less than that of this program: a process that is forked counts the memory of the one that forked it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=out, stderr=errors)
        started(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            sys.exit(f"{' '.join(map(str, command))}\n{errors.read().decode()}")
        return out.read().decode(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    print(in_words(describe()))
