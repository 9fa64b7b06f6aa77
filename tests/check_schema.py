"""The schema of run files against the run files of the repository, and against the program on wrong ones.

usage: check_schema.py SCHEMA RUN.toml... --gfe PROGRAM
"""

import json
import math
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import jsonschema

SCHEMA, *RUNS = [a for a in sys.argv[1:] if not a.startswith("--")][:-1]
GFE = sys.argv[-1]

schema = json.loads(Path(SCHEMA).read_text())
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)


def takes(table: dict) -> bool:
    return validator.is_valid(table)


def program_takes(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run.toml"
        run.write_text(text)
        ran = subprocess.run([GFE, "config", "check", run, "--for", "encode", "--json"], capture_output=True, text=True)
        assert ran.returncode in (0, 78), ran.stderr
        return json.loads(ran.stdout)["valid"]


for run in RUNS:
    errors = [f"{'.'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(tomllib.loads(Path(run).read_text()))]
    assert not errors, f"{run}: {errors}"

# Schema and program agree on a value of every kind at every key.
values = ["-1", "0", "1", "7", "0.5", "1.5", "1e400", "-inf", "inf", "nan", "true", '"inf"', '"zeros"', '"0..5"', '"adam"',
          "[1, 2]", '["a"]', "[0.5]", "[]", "{ a = 1 }"]
compared = 0
for section, told in schema["properties"].items():
    for name, key in told.get("properties", {}).items():
        assert key["title"] == name and len(key["description"]) > 8, (section, name)
        for value in values:
            if value == "1e400":
                continue
            # What depends on a choice is allowed where the choice is made.
            text = f"[{section}]\n{name} = {value}\n"
            table = tomllib.loads(text)
            number = table[section][name]
            if isinstance(number, float) and math.isnan(number):
                continue
            if name in ("trace_at", "t_end", "solver", "flow", "sha256", "plugin"):
                continue
            mine, its = takes(table), program_takes(text)
            assert mine == its, f"{text}: the schema {'takes' if mine else 'refuses'} it, the program does not agree"
            compared += 1
assert compared > 1000, compared

assert not takes({"method": {"gtoll": 1}}) and not takes({"methods": {}}) and not takes({"epochs": 1})
assert takes({"method": {"solver": "amd", "armijo": 1e-4}}) and not takes({"method": {"armijo": 1e-4}})
assert not takes({"method": {"solver": "amd", "edm_tol": 1e-3}}) and takes({"method": {"edm_tol": 1e-3}})
assert takes({"$schema": "schemas/run.schema.json", "encode": {"warm_start": True}})
assert not takes({"method": {"solver": "amd"}, "encode": {"warm_start": True}})
assert schema["properties"]["method"]["properties"]["gtol"]["default"] == 1e-9
