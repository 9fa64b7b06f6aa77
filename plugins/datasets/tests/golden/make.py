"""Writes the files beside it with NumPy; the tests know the values by the formula of `values`."""
import gzip
import io
import pathlib
import struct

import numpy as np

HERE = pathlib.Path(__file__).parent
SHAPE = (5, 3, 4)


def values(dtype, shape=SHAPE):
    count = np.arange(np.prod(shape)) * 7 % 100
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        count = (count - 50) / 8
    elif dtype.kind == "i":
        count = count - 50
    return count.astype(dtype).reshape(shape)


for order, name in [(o, n) for n in "u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8".split() for o in "<>"]:
    label = {"<": "little", ">": "big"}[order]
    np.save(HERE / f"{name}_{label}.npy", values(order + name))
np.save(HERE / "fortran_f4.npy", np.asfortranarray(values("<f4")))
np.save(HERE / "fortran_matrix.npy", np.asfortranarray(values(">i2", (6, 4))))
np.save(HERE / "scalars.npy", values("u1", (7,)))
np.save(HERE / "no_samples.npy", values("f8", (0, 3)))
for major in (2, 3):
    with open(HERE / f"version_{major}.npy", "wb") as file:
        np.lib.format.write_array(file, values("<f8"), version=(major, 0))

np.savez(HERE / "one.npz", images=values("<f4"))
np.savez(HERE / "several.npz", images=values("u1"), labels=values("<i8", (5,)))
np.savez_compressed(HERE / "packed.npz", images=values("<f8"), labels=np.asfortranarray(values("<i2")))

np.save(HERE / "refused_objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
np.save(HERE / "refused_structured.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i2")]))
np.save(HERE / "refused_bool.npy", np.zeros((3, 2), dtype=bool))
np.save(HERE / "refused_complex.npy", np.zeros((3, 2), dtype="<c16"))
np.save(HERE / "refused_text.npy", np.array(["a", "bc"]))
np.save(HERE / "refused_rank_0.npy", np.array(3.0))
np.save(HERE / "refused_no_values.npy", np.zeros((3, 0)))

images = values("u1")
idx = struct.pack(">BBBB3I", 0, 0, 8, 3, *SHAPE) + images.tobytes()
(HERE / "images.idx3-ubyte").write_bytes(idx)
packed = io.BytesIO()
with gzip.GzipFile("images", "wb", fileobj=packed, mtime=0) as file:
    file.write(idx)
(HERE / "images.idx3-ubyte.gz").write_bytes(packed.getvalue())
for code, name in [(9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]:
    header = struct.pack(">BBBB3I", 0, 0, code, 3, *SHAPE)
    (HERE / f"{name}.idx").write_bytes(header + values(">" + name).tobytes())
