"""Peak memory of encoding 60,000 and 200,000 rows of 784 values: it must not grow with the rows, once they fill some parts of the output.

With one malloc arena: how much lies unused in several depends on which thread came first, up to 20% from run to run.
"""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
from safetensors.numpy import save_file

program, folder = sys.argv[1:]
rng = np.random.default_rng(1)
weights = {"decoder.0.weight": rng.normal(size=(784, 3)) / 10, "decoder.0.bias": np.zeros(784)}
config = {"decoder": "dense", "latent": 3, "layers": [784], "activation": "elu", "output": "logits"}
model = f"{folder}/model.safetensors"
save_file(weights, model, metadata={"gfe.decoder": json.dumps(config)})

PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
peaks, one_arena = [], os.environ | {"MALLOC_ARENA_MAX": "1"}
for rows in (60_000, 200_000):
    data, output = f"{folder}/data.h5", f"{folder}/codes.h5"
    with h5py.File(data, "w") as file:
        images = file.create_dataset("images", (rows, 28, 28), "u1")
        for first in range(0, rows, 10_000):
            count = min(10_000, rows - first)
            images[first : first + count] = rng.integers(0, 256, (count, 28, 28), "u1")
    encode = [program, "encode", data, "-m", model, "-o", output, "--force", "--threads", "2"]
    ran = subprocess.run([sys.executable, "-c", PEAK, *encode], check=True, capture_output=True, text=True, env=one_arena)
    peaks.append(int(ran.stdout.split()[-1]))
    with h5py.File(output) as file:
        assert file["z"].shape == (rows, 3) and (file["status"][:] == 0).all()
print(f"peak memory in KiB: {peaks[0]} for 60,000 rows, {peaks[1]} for 200,000")
assert peaks[1] <= 1.2 * peaks[0], peaks
