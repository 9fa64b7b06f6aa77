"""The supernova spectra, from training to figures: run.py GFE FOLDER PAGE. FOLDER holds train.h5 and test.h5 of `prepare.py`.

Trains the decoder and principal components, encodes the held-out objects, compares codes from the two halves of the bins, writes
the tables between the marks of PAGE, and spectra.png and codes.png beside it.
"""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from figures import draw_codes, draw_spectra
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
COMPONENTS = [4, 8, 16]
# What the decoder may leave of the squared flux of objects that it has not seen.
BOUND = 0.36
WIDTHS = [1, 8, 32]
# Of spectra drawn to the error bars of their codes.
DRAWS = 64

gfe, folder, page = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
DATA = f"{folder}/test.h5:/flux"
NAMES = {"decoder": "64-128-256-1024, latent 8"} | {f"pca-{k}": f"PCA, {k} components" for k in COMPONENTS}


def run(*arguments):
    """Runs the program; gives the seconds it took."""
    start = time.monotonic()
    done = subprocess.run([gfe, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"gfe {' '.join(map(str, arguments))}: {done.stderr}")
    return time.monotonic() - start


def train(name):
    """Seconds of the training of `name`."""
    own = ["--set", f"data.input={folder}/train.h5:/flux", "--threads", 1 if name != "decoder" else 2]
    if name == "decoder":
        return run("train", HERE / "decoder.toml", "-o", folder / "decoder.safetensors", "--force", *own)
    components = ["--set", f"decoder.latent={name.removeprefix('pca-')}"]
    return run("train", HERE / "pca.toml", "-o", folder / f"{name}.safetensors", "--force", *own, *components)


def encode(name, output, *flags):
    """Encodes the held-out spectra with error bars; gives seconds."""
    always = ["--weight", "weight", "--uncertainty", "--noise", "estimate", "--keep", "type", "--keep", "object", "--force"]
    return run("encode", DATA, "-m", folder / f"{name}.safetensors", "-o", folder / output, *always, *flags)


def read(name, *datasets):
    with h5py.File(folder / name) as file:
        return [file[dataset][:] for dataset in datasets]


def unexplained(name):
    """Squared error of the observed bins of all held-out spectra, over their squared flux and over their squared deviation from the
    mean spectrum."""
    flux, weight = read("test.h5", "flux", "weight")
    (decoded,) = read(f"{name}.h5", "reconstruction")
    mean = (weight * flux).sum(0) / np.maximum(weight.sum(0), 1)
    error = (weight * (flux - decoded) ** 2).sum()
    return error / (weight * flux**2).sum(), error / (weight * (flux - mean) ** 2).sum()


def coverage(name, width):
    """The part of the latents, over all spectra, whose codes from the two halves of the bins differ by less than one standard error
    of their difference; and the mean over spectra of its chi-squared per latent."""
    halves = []
    for half in (0, 1):
        output = f"{name}-{width}-{half}.h5"
        encode(name, output, "--mask", f"hide_{width}_{half}", "--fail-above", 1)
        halves.append(read(output, "z", "z_std", "z_cov", "status"))
    (z, std, cov, status), (other_z, other_std, other_cov, other_status) = halves
    good = (status <= 1) & (other_status <= 1) & np.isfinite(std).all(1) & np.isfinite(other_std).all(1)
    apart = (z - other_z)[good]
    within = np.abs(apart) < np.hypot(std, other_std)[good]
    whole = np.linalg.solve((cov + other_cov)[good], apart[:, :, None])[:, :, 0]
    return within.mean(), np.median((apart * whole).sum(1)) / z.shape[1]


def correlation(name):
    """The correlation of standardized residuals of bins 1, 8 and 32 apart, over all held-out spectra."""
    flux, weight = read("test.h5", "flux", "weight")
    (decoded,) = read(f"{name}.h5", "reconstruction")
    noise = load_file(folder / f"{name}.safetensors")["gfe.noise"]
    known = np.isfinite(noise) & (noise > 0)
    left = np.where((weight > 0) & known, (flux - decoded) / np.where(known, noise, 1), np.nan)
    lagged = [np.nanmean(left[:, lag:] * left[:, :-lag]) / np.nanmean(left**2) for lag in WIDTHS]
    return lagged


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def bands(rows):
    """Mean and standard deviation of spectra decoded from codes drawn to the error bars of `rows`."""
    z, cov = read("decoder.h5", "z", "z_cov")
    random = np.random.default_rng(0)
    drawn = np.concatenate([random.multivariate_normal(z[row], cov[row], DRAWS) for row in rows])
    with h5py.File(folder / "draws.h5", "w") as file:
        file["z"] = drawn
    run("decode", f"{folder}/draws.h5:/z", "-m", folder / "decoder.safetensors", "-o", folder / "drawn.h5", "--force")
    (decoded,) = read("drawn.h5", "reconstruction")
    return decoded.reshape(len(rows), DRAWS, -1).std(1)


def main():
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        seconds = dict(zip(NAMES, pool.map(train, NAMES)))
    errors = []
    for name in NAMES:
        took = encode(name, f"{name}.h5", "--reconstruction")
        samples = len(read(f"{name}.h5", "z")[0])
        found = [f"{part:.3f}" for part in unexplained(name)]
        errors.append([NAMES[name], *found, f"{seconds[name]:.0f} s", f"{samples / took:.0f}"])
    about = ["squared error / squared flux", "/ squared deviation from the mean spectrum"]
    head = ["", *about, "training", "spectra encoded per second, with error bars"]
    text = table(head, errors) + "\n"
    compared = [name for name in NAMES if name in ("decoder", "pca-8")]
    rows = []
    for width in WIDTHS:
        what = "odd and even bins" if width == 1 else f"blocks of {width} bins"
        found = [coverage(name, width) for name in compared]
        rows.append([what, *(f"{part:.2f}" for part, _ in found), *(f"{chi2:.2f}" for _, chi2 in found)])
    head = ["codes from", *(f"{NAMES[name]}: within 1 sigma" for name in compared)]
    text += "\n" + table(head + [f"{NAMES[name]}: chi-squared per latent, median" for name in compared], rows) + "\n"
    rows = [[NAMES[name], *(f"{value:.2f}" for value in correlation(name))] for name in compared]
    head = ["correlation of residuals", *(f"{lag} bin{'s' * (lag > 1)} apart" for lag in WIDTHS)]
    text += "\n" + table(head, rows) + "\n"
    flux, weight, wavelength, kinds, objects = read("test.h5", "flux", "weight", "wavelength", "type", "object")
    decoded, z = read("decoder.h5", "reconstruction", "z")
    kinds, objects = kinds.astype(str), objects.astype(str)
    noise = load_file(folder / "decoder.safetensors")["gfe.noise"]
    rows = examples(kinds, objects, unexplained_each(flux, weight, decoded))
    draw_spectra(
        page.parent / "spectra.png",
        wavelength,
        [(f"{objects[row]}, {kinds[row]}", flux[row], weight[row] > 0, decoded[row]) for row in rows],
        (bands(rows), noise),
    )
    draw_codes(page.parent / "codes.png", z, kinds)
    text += f"\nEverything took {time.monotonic() - start:.0f} s, on two threads.\n"
    marked = re.compile(r"(<!-- measured -->\n).*(<!-- end -->)", re.S)
    page.write_text(marked.sub(lambda found: f"{found[1]}{text}{found[2]}", page.read_text()))
    print(text)
    left = unexplained("decoder")[0]
    if left > BOUND:
        raise SystemExit(f"{left:.3f} of the squared flux is left unexplained, more than {BOUND}")


def unexplained_each(flux, weight, decoded):
    """The same for each spectrum."""
    return (weight * (flux - decoded) ** 2).sum(1) / (weight * flux**2).sum(1)


def examples(kinds, objects, error):
    """Of six types the spectrum with the median error, no object twice."""
    rows = []
    for kind in ["Ia", "II", "Ib", "Ic", "SLSN", "TDE"]:
        candidates = np.flatnonzero(kinds == kind)
        candidates = candidates[np.argsort(error[candidates])]
        if len(candidates):
            rows.append(candidates[len(candidates) // 2])
    return rows


main()
