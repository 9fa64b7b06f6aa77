"""Makes a corpus of small hostile files: make_corpus.py FOLDER MODEL

Writes `cases.json` there: for each file the commands that meet it, the exit code of each and words that its sentence has to
hold. In the arguments {f} is the file, {o} an output, {m} the model."""

import ctypes
import gzip
import json
import os
import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np

folder, model = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
secret = folder / "secret.txt"
secret.write_bytes(b"nobody may read this" * 1000)
cases = []

ENCODE = ["encode", "{f}", "-m", "{m}", "-o", "{o}", "--max-steps", "2", "--threads", "1", "--fail-above", "1"]
CONVERT = ["convert", "{f}", "{o}"]
INSPECT = ["inspect", "{f}"]


def case(name, code, *words, command=ENCODE, dataset="", env=None):
    """What the program has to say to a file; where it is refused, it has to name it."""
    named = [] if code == 0 else [name]
    arguments = [word.replace("{f}", "{f}" + dataset) for word in command]
    cases.append({"file": name, "code": code, "says": [*named, *words], "command": arguments, "env": env or {}})


def images(n=4, seed=0):
    return np.random.default_rng(seed).random((n, 28, 28)).astype("f4")


def h5(name, **how):
    return h5py.File(folder / name, "w", **how)


def raw(name, content):
    (folder / name).write_bytes(content)


def fine():
    with h5("fine.h5") as f:
        f["images"] = images()
    case("fine.h5", 0)
    case("fine.h5", 0, command=INSPECT)


def filters():
    """Filters that HDF5 would look for in libraries, or that grow without end."""
    for number, name in [(32015, "zstd"), (32001, "blosc"), (31999, "nobody's")]:
        file = f"filter-{number}.h5"
        with h5(file) as f:
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk((4, 28, 28))
            plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1, 2))
            space = h5py.h5s.create_simple((4, 28, 28))
            dataset = h5py.h5d.create(f.id, b"images", h5py.h5t.IEEE_F32LE, space, plist)
            dataset.write_direct_chunk((0, 0, 0), b"x" * 100)
        case(file, 65, "filters", "h5repack")
        case(file, 0, command=INSPECT)
    # On the plugin path of HDF5, which is to look at none of it.
    (folder / "plugins").mkdir()
    raw("plugins/libevil.so", b"\x7fELF not a library")

    def direct(file, chunk, **how):
        with h5(file) as f:
            d = f.create_dataset("images", (4, 28, 28), "f4", chunks=(4, 28, 28), **how)
            d.id.write_direct_chunk((0, 0, 0), chunk)

    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(1024)) + packer.flush()
    direct("bomb.h5", bomb, compression="gzip")
    case("bomb.h5", 65, "damaged")
    # Within what a chunk may take: it has to be inflated to be known.
    with h5("bomb-within.h5") as f:
        d = f.create_dataset("images", (4096, 28, 28), "f4", chunks=(4096, 28, 28), compression="gzip")
        d.id.write_direct_chunk((0, 0, 0), bomb)
    case("bomb-within.h5", 65, "without end")
    direct("checksum-of-1.h5", b"\1", fletcher32=True)
    case("checksum-of-1.h5", 65, "shorter than its checksum")
    direct("short-stream.h5", zlib.compress(b"short"), compression="gzip")
    case("short-stream.h5", 65, "rows 0..4 cannot be read")
    direct("no-stream.h5", b"nothing packed at all", compression="gzip")
    case("no-stream.h5", 65, "rows 0..4 cannot be read")
    with h5("packed-twice.h5") as f:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 28, 28))
        plist.set_deflate(1)
        plist.set_deflate(1)
        h5py.h5d.create(f.id, b"images", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 28, 28)), plist)
    case("packed-twice.h5", 65, "filters", "h5repack")


def elsewhere():
    """Values in other files."""
    with h5("external-storage.h5") as f:
        size = 4 * 28 * 28
        f.create_dataset("images", (4, 28, 28), "u1", external=[(str(secret), 0, size)])
        f.create_dataset("labels", (4,), "u1", external=[(str(secret), 0, 4)])
        f["data"] = images()
        f["axis"] = f.create_dataset("hidden", (28,), "u1", external=[(str(secret), 0, 28)])
        f["axis"].make_scale("axis")
        f["data"].dims[2].attach_scale(f["axis"])
    case("external-storage.h5", 65, "another file", "--allow-external", dataset=":/images")
    case("external-storage.h5", 65, "another file", dataset=":/data", command=[*ENCODE, "--keep", "labels"])
    case("external-storage.h5", 0, dataset=":/data")
    case("external-storage.h5", 0, command=INSPECT)
    case("external-storage.h5", 0, dataset=":/images", command=[*CONVERT, "--allow-external"])

    with h5("target.h5") as f:
        f["images"] = images()
        f["labels"] = np.arange(4)
    with h5("external-link.h5") as f:
        f["images"] = h5py.ExternalLink(str(folder / "target.h5"), "/images")
        f["labels"] = h5py.ExternalLink(str(folder / "target.h5"), "/labels")
        f["group"] = h5py.ExternalLink(str(folder / "target.h5"), "/")
        f["soft"] = h5py.SoftLink("/images")
        f["data"] = images()
    for name in ["images", "group/images", "soft"]:
        case("external-link.h5", 65, "another file", "--allow-external", dataset=f":/{name}")
        case("external-link.h5", 0, dataset=f":/{name}", command=[*CONVERT, "--allow-external"])
    case("external-link.h5", 65, "another file", dataset=":/data", command=[*ENCODE, "--keep", "labels"])
    case("external-link.h5", 0, dataset=":/data")
    case("external-link.h5", 0, command=INSPECT)
    case("external-link.h5", 0, dataset=":/data", command=[*ENCODE, "--allow-external", "--keep", "labels"])

    layout = h5py.VirtualLayout((4, 28, 28), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "target.h5"), "images", (4, 28, 28))
    endless = h5py.VirtualLayout((4, 28, 28), "f4", maxshape=(None, 28, 28))
    whole = h5py.VirtualSource(str(folder / "target.h5"), "images", (4, 28, 28), maxshape=(None, 28, 28))
    endless[: h5py.h5s.UNLIMITED] = whole[: h5py.h5s.UNLIMITED]
    with h5("virtual.h5", libver="latest") as f:
        f.create_virtual_dataset("images", layout)
        f.create_virtual_dataset("endless", endless)
        f["data"] = images()
    for name in ["images", "endless"]:
        case("virtual.h5", 65, "another file", "--allow-external", dataset=f":/{name}")
    case("virtual.h5", 0, dataset=":/images", command=[*CONVERT, "--allow-external"])
    case("virtual.h5", 0, dataset=":/data")
    case("virtual.h5", 65, "one value per sample", dataset=":/data", command=[*ENCODE, "--keep", "nothing"])
    case("virtual.h5", 0, command=INSPECT)

    with h5("loops.h5") as f:
        f["a"], f["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
        f["self"] = h5py.SoftLink("/self/self")
        group = f.create_group("group")
        group["group"] = group
        group["root"] = f["/"]
    for name in ["a", "self"]:
        case("loops.h5", 66, "no dataset", dataset=f":/{name}")
    case("loops.h5", 65, "name one dataset")
    case("loops.h5", 0, command=INSPECT)


def shapes():
    """Shapes that nothing is behind, or that no sample has."""
    with h5("terabytes.h5") as f:
        f.create_dataset("images", (2**31, 28, 28), "f8")
        f.create_dataset("chunked", (2**31, 28, 28), "f8", chunks=(1, 28, 28))
        f.create_dataset("wide", (2**20, 2**20), "f8", chunks=(1, 2**10))
    case("terabytes.h5", 65, "declares", "holds 0", dataset=":/images")
    case("terabytes.h5", 65, "declares", dataset=":/chunked")
    case("terabytes.h5", 65, "declares", dataset=":/wide")
    case("terabytes.h5", 65, "declares", dataset=":/wide", command=CONVERT)
    case("terabytes.h5", 0, command=INSPECT)
    with h5("huge-chunk.h5") as f:
        f.create_dataset("images", (2**18, 28, 28), "f4", chunks=(2**18, 28, 28))
        d = f.create_dataset("filled", (2**17, 28, 28), "u1", chunks=(2**17, 28, 28), compression="gzip")
        d.id.write_direct_chunk((0, 0, 0), zlib.compress(b"\0" * (1 << 20)) * 3)
        f.create_dataset("wide", (2, 2**26), "f4", chunks=(1, 2**26))
        f.create_dataset("crumbs", (2, 2**20), "f4", chunks=(1, 1))
    case("huge-chunk.h5", 65, "h5repack -l '/images:CHUNK=334x28x28'", "134217728", dataset=":/images")
    case("huge-chunk.h5", 65, dataset=":/filled")
    case("huge-chunk.h5", 65, "h5repack -l '/wide:CHUNK=1x262144'", dataset=":/wide", command=CONVERT)
    case("huge-chunk.h5", 65, "along a row of them", dataset=":/crumbs", command=CONVERT)
    case("huge-chunk.h5", 0, command=INSPECT)
    with h5("shapes.h5") as f:
        f["scalar"] = 1.0
        f["null"] = h5py.Empty("f8")
        f["empty-axis"] = np.zeros((4, 0, 28))
        f.create_dataset("rank-8", data=np.zeros((1,) * 7 + (784,)))
        f.create_dataset("rank-9", data=np.zeros((1,) * 8 + (784,)))
        f.create_dataset("rank-32", data=np.zeros((1,) * 31 + (784,)))
        f.create_dataset("no-rows", (0, 28, 28), "f4")
        f.create_dataset("many-values", (4, 2**28), "u1", chunks=(1, 2**20))
    for name in ["scalar", "null", "empty-axis", "rank-9", "rank-32", "many-values"]:
        case("shapes.h5", 65, "shape", dataset=f":/{name}")
    for name in ["rank-8", "no-rows"]:
        case("shapes.h5", 0, dataset=f":/{name}")
    case("shapes.h5", 0, command=INSPECT)


def wide_enumeration():
    """Names for three integers of 4096 bytes each."""
    library = next(line.split()[-1] for line in open("/proc/self/maps") if "/libhdf5-" in line or "/libhdf5.so" in line)
    insert = ctypes.CDLL(library).H5Tenum_insert
    insert.argtypes = [ctypes.c_int64, ctypes.c_char_p, ctypes.c_void_p]
    base = h5py.h5t.STD_I64LE.copy()
    base.set_precision(8 * 4096)
    made = h5py.h5t.enum_create(base)
    for i in range(3):
        assert insert(made.id, b"m%d" % i, ctypes.create_string_buffer(bytes([65 + i]) * 4096, 4096)) >= 0
    return made


def types():
    """Types that are no numbers, and those that are."""
    with h5("types.h5") as f:
        shape = (4, 784)
        for name in ["f2", "f4", ">f8", "i1", ">i2", "u4", "i8"]:
            f[f"fine-{name[-2:]}"] = np.zeros(shape, name)
        f["fine-bits"] = np.zeros(shape, "u1")
        f["bool"] = np.zeros(shape, "?")
        f["text"] = np.zeros(shape, "S3")
        f["opaque"] = np.zeros(shape, "V5")
        f["compound"] = np.zeros(shape, [("a", "f4"), ("b", "i2")])
        f["complex"] = np.zeros(shape, "c8")
        f.create_dataset("enum", shape, h5py.enum_dtype({"RED": 1, "GREEN": 2}, "i4"))
        f.create_dataset("reference", shape, h5py.ref_dtype)
        f.create_dataset("region", shape, h5py.regionref_dtype)
        f.create_dataset("sequences", shape, h5py.vlen_dtype("f8"))
        f.create_dataset("texts", shape, h5py.string_dtype())
        f.create_dataset("arrays", (4,), np.dtype(("f4", (28, 28))))
        f.create_dataset("long-double", shape, "g")
        wide = h5py.h5t.STD_I64LE.copy()
        wide.set_size(64)
        wide.set_precision(512)
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(f.id, b"wide-integer", wide, space)
        h5py.h5d.create(f.id, b"wide-enum", wide_enumeration(), space)
        names = list(f)
    # Enumerations count as the integers that they name.
    integers = ["bool", "enum"]
    refused = [name for name in names if not name.startswith("fine") and name not in ["long-double", *integers]]
    for name in refused:
        case("types.h5", 65, "integers or floats are needed", dataset=f":/{name}")
    for name in names:
        if name.startswith("fine") or name in integers:
            case("types.h5", 0, dataset=f":/{name}")
    case("types.h5", 0, command=INSPECT)


def attributes():
    """What is beside the values."""
    with h5("scales.h5") as f:
        f["images"] = images()
        space = h5py.h5s.create_simple((3,))
        lists = h5py.h5t.vlen_create(h5py.h5t.STD_REF_OBJ)
        h5py.h5a.create(f["images"].id, b"DIMENSION_LIST", lists, space)
    case("scales.h5", 0)
    for name in ["DIMENSION_LIST", "DIMENSION_LABELS", "CLASS", "units", "_FillValue"]:
        file = f"enum-{name.lower()}.h5"
        with h5(file) as f:
            f["images"] = images()
            f["axis"] = np.arange(28.0)
            one = h5py.h5s.create(h5py.h5s.SCALAR) if name in ("CLASS", "units") else h5py.h5s.create_simple((3,))
            for place in ("images", "axis"):
                h5py.h5a.create(f[place].id, name.encode(), wide_enumeration(), one)
        case(file, 0, command=INSPECT)
        if name == "_FillValue":
            case(file, 65, "_FillValue", dataset=":/images")
        else:
            case(file, 0, dataset=":/images")
    with h5("dangling-scale.h5") as f:
        f["images"] = images()
        f["axis"] = np.arange(28.0)
        f["axis"].make_scale("axis")
        f["images"].dims[1].attach_scale(f["axis"])
        del f["axis"]
    case("dangling-scale.h5", 0)
    with h5("huge-scale.h5") as f:
        f["images"] = images()
        f.create_dataset("axis", (2**40,), "f8", chunks=(2**20,))
        f["axis"].make_scale("axis")
        f["images"].dims[1].attach_scale(f["axis"])
    case("huge-scale.h5", 0, dataset=":/images")
    with h5("labels.h5", libver="latest") as f:
        f["images"] = images()
        f["images"].attrs.create("DIMENSION_LABELS", ["x" * 60000, "\x1b[31m", "c"], dtype=h5py.string_dtype())
        f["not-utf8"] = np.array([b"\xff\xfe", b"b", b"c", b"d"])
        f.create_dataset("names", data=[b"\xff\xfe", b"b", b"c", b"d"], dtype=h5py.string_dtype())
        f["two"] = np.arange(2)
        f["opaque"] = np.zeros(4, "V5")
    case("labels.h5", 0, dataset=":/images")
    case("labels.h5", 65, "UTF-8", dataset=":/images", command=[*ENCODE, "--keep", "names"])
    case("labels.h5", 65, "UTF-8", dataset=":/images", command=[*ENCODE, "--keep", "not-utf8"])
    case("labels.h5", 65, "shape [2]", dataset=":/images", command=[*ENCODE, "--keep", "two"])
    case("labels.h5", 65, "opaque", dataset=":/images", command=[*ENCODE, "--keep", "opaque"])
    case("labels.h5", 0, command=INSPECT)
    with h5("huge-text.h5") as f:
        f["images"] = images()
        f.create_dataset("names", data=["a", "b", "c", "d"], dtype=h5py.string_dtype())
        place = f["names"].id.get_offset()
    damaged = bytearray((folder / "huge-text.h5").read_bytes())
    damaged[place : place + 4] = struct.pack("<I", 0xF0000000)
    raw("huge-text.h5", damaged)
    case("huge-text.h5", 65, dataset=":/images", command=[*ENCODE, "--keep", "names"])
    with h5("endless-heap.h5") as f:
        f["images"] = images()
        f["axis"] = np.arange(28.0)
        f["axis"].make_scale("axis")
        f["images"].dims[1].attach_scale(f["axis"])
    damaged = bytearray((folder / "endless-heap.h5").read_bytes())
    heap = damaged.index(b"GCOL\x01")
    # An object of length 0 after the first: HDF5 2.2.0 never comes past it.
    length = struct.unpack_from("<Q", damaged, heap + 24)[0]
    after = heap + 32 + (length + 7) // 8 * 8
    damaged[after : after + 16] = b"\0" * 16
    raw("endless-heap.h5", damaged)
    case("endless-heap.h5", 65, "for ever")


def no_hdf5():
    """What is no HDF5 file, or no file."""
    raw("empty.h5", b"")
    raw("text.h5", b"not HDF5 at all\n" * 50)
    raw("superblock.h5", b"\x89HDF\r\n\x1a\n" + b"\xff" * 100)
    for name in ["empty.h5", "text.h5", "superblock.h5"]:
        case(name, 65, "not a readable HDF5 file")
        case(name, 65, command=INSPECT)
        case(name, 65, command=["decode", "{f}", "-m", "{m}", "-o", "{o}"])
        case(name, 65, command=["plot", "training", "{f}", "-o", "{o}.svg"])
    (folder / "folder.h5").mkdir()
    os.mkfifo(folder / "pipe.h5")
    os.symlink("/dev/zero", folder / "zero.h5")
    os.symlink("/nowhere/at/all", folder / "nowhere.h5")
    os.symlink("turning.h5", folder / "turning.h5")
    for name, what in [("folder.h5", "a folder"), ("pipe.h5", "a pipe"), ("zero.h5", "a device"), ("nowhere.h5", "no such")]:
        for command in [ENCODE, INSPECT, CONVERT, ["plot", "training", "{f}", "-o", "{o}.svg"]]:
            case(name, 66, what, command=command)
        as_model = ["encode", str(folder / "fine.h5"), "-m", "{f}", "-o", "{o}"]
        case(name, 66, what, command=as_model)
    case("turning.h5", 74)
    for length in [1, 8, 48, 96, 100, 500, 1000, 2000, 4000, 8000]:
        name = f"cut-{length}.h5"
        with h5(name) as f:
            d = f.create_dataset("images", data=images(), chunks=(1, 28, 28), compression="gzip")
        raw(name, (folder / name).read_bytes()[:length])
        case(name, 65)
        case(name, 65, command=INSPECT)


def models():
    """Model files."""
    fine = model.read_bytes()
    length = int.from_bytes(fine[:8], "little")
    header, weights = json.loads(fine[8 : 8 + length]), fine[8 + length :]
    command = ["encode", str(folder / "fine.h5"), "-m", "{f}", "-o", "{o}", "--max-steps", "2", "--fail-above", "1"]

    def put(name, head, body=b"", claimed=None):
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        raw(name, struct.pack("<Q", len(text) if claimed is None else claimed) + text + body)

    def bad(name, code, *words):
        case(name, code, *words, command=command)
        case(name, code, *words, command=INSPECT)

    for name, claimed in [("2-63", 1 << 63), ("all", 2**64 - 1), ("9-terabytes", 9 << 40), ("99-megabytes", 99 << 20)]:
        put(f"header-{name}.safetensors", b"{}", claimed=claimed)
        bad(f"header-{name}.safetensors", 65, "at most")
    raw("short.safetensors", b"\1\0\0")
    bad("short.safetensors", 65)
    put("no-json.safetensors", b"{" * 100_000)
    put("deep.safetensors", b'{"a":' * 100_000)
    put("lists.safetensors", b'{"a":{"dtype":"F32","shape":' + b"[" * 100_000)
    put("not-utf8.safetensors", b'{"\xff\xfe": 1}')
    for name in ["no-json", "deep", "lists", "not-utf8"]:
        bad(f"{name}.safetensors", 65)
    put("many.safetensors", b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(70_000)) + b"}")
    bad("many.safetensors", 65, "gfe.decoder")
    put("many-words.safetensors", b'{"__metadata__":{' + b",".join(b'"%d":""' % i for i in range(350_000)) + b"}}")
    bad("many-words.safetensors", 65, "gfe.decoder")

    def one(start, end, shape, dtype="F32", more=()):
        entries = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}, **dict(more)}
        return {"__metadata__": header["__metadata__"], **entries}

    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    put("overlap.safetensors", one(0, 8, [2], more={"b": {**entry, "data_offsets": [4, 12]}}), b"\0" * 12)
    put("hole.safetensors", one(0, 8, [2], more={"b": {**entry, "data_offsets": [16, 24]}}), b"\0" * 24)
    put("backwards.safetensors", one(8, 0, [2]), b"\0" * 8)
    put("beyond.safetensors", one(0, 800, [200]), b"\0" * 8)
    put("behind.safetensors", one(0, 8, [2]), b"\0" * 800)
    put("shape.safetensors", one(0, 8, [3]), b"\0" * 8)
    put("product.safetensors", one(0, 8, [2**40, 2**40]), b"\0" * 8)
    put("negative.safetensors", one(0, 8, [-2]), b"\0" * 8)
    put("type.safetensors", one(0, 8, [2], "I32"), b"\0" * 8)
    put("no-type.safetensors", one(0, 8, [2], "F99"), b"\0" * 8)
    for name in ["overlap", "hole", "backwards", "beyond", "behind", "shape", "product", "negative", "type", "no-type"]:
        bad(f"{name}.safetensors", 65)
    text = json.dumps(header)
    twice = text[:-1] + ', "decoder.0.weight": ' + json.dumps(header["decoder.0.weight"]) + "}"
    put("twice.safetensors", twice.encode(), weights)
    bad("twice.safetensors", 65)
    put("twice-words.safetensors", text.replace('"__metadata__": {', '"__metadata__": {"gfe.decoder": "{}", ').encode(), weights)
    bad("twice-words.safetensors", 65, "twice")

    def decoder(name, code, value, *words):
        changed = {**header, "__metadata__": {**header["__metadata__"], "gfe.decoder": value}}
        put(f"{name}.safetensors", changed, weights)
        bad(f"{name}.safetensors", code, *words)

    dense = json.loads(header["__metadata__"]["gfe.decoder"])
    decoder("latent-1e12", 65, json.dumps({**dense, "latent": 10**12}))
    decoder("latent-float", 78, json.dumps({**dense, "latent": 1e12}))
    decoder("latent-0", 78, json.dumps({**dense, "latent": 0}))
    decoder("latent-negative", 78, json.dumps({**dense, "latent": -1}))
    decoder("layers-product", 78, json.dumps({**dense, "layers": [2**40, 2**40]}), "memory")
    decoder("layers-1e12", 65, json.dumps({**dense, "layers": [10**12, 784]}))
    decoder("layers-many", 78, json.dumps({**dense, "layers": [1] * 100_000}), "limit")
    decoder("layers-millions", 65, json.dumps({**dense, "layers": [1] * 1_000_000}), "at most")
    decoder("layers-none", 78, json.dumps({**dense, "layers": []}))
    decoder("decoder-deep", 65, "[" * 100_000, "JSON")
    decoder("decoder-text", 78, '"dense"')
    decoder("decoder-number", 65, "1e999", "JSON")
    # What a data file says is never a path.
    evil = folder / "libevil.so"
    for i, path in enumerate([str(evil), "../libevil.so", "./libevil.so", "libevil.so", "a b", ""]):
        name = f"plugin-{i}.safetensors"
        put(name, {**header, "__metadata__": {"gfe.decoder": json.dumps({"decoder": path})}}, weights)
        case(name, 78, command=command, env={"GFE_PLUGIN_PATH": ""})
        case(name, 0, command=INSPECT)
    raw("libevil.so", b"\x7fELF not a library")

    numbers = np.frombuffer(weights, "f4").copy() if header["decoder.0.weight"]["dtype"] == "F32" else np.frombuffer(weights).copy()
    numbers[::7] = np.nan
    put("nan.safetensors", header, numbers.tobytes())
    case("nan.safetensors", 0, command=command)
    raw("pickle.pt", b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u." + b"\0" * 100)
    raw("archive.pt", b"PK\x03\x04\0\0\0\0" + b"\0" * 100)
    for name in ["pickle.pt", "archive.pt"]:
        bad(name, 65, "pickle", "save_file")
    for cut in [8, 100, 8 + length - 1, 8 + length, 8 + length + 1000, len(fine) - 1]:
        raw(f"model-{cut}.safetensors", fine[:cut])
        bad(f"model-{cut}.safetensors", 65)


def run_files():
    """Run files."""
    command = ["encode", str(folder / "fine.h5"), "-m", "{m}", "-o", "{o}", "-c", "{f}"]
    texts = {
        "deep-lists": b"[method]\nt_end = " + b"[" * 100_000,
        "deep-tables": b"[" + b"a." * 100_000 + b"a]\n",
        "dotted": b"a." * 100_000 + b"b = 1\n",
        "inline": b"[method]\nt_end = " + b"{a=" * 100_000,
        "huge-integer": b"[method]\nmax_steps = " + b"9" * 10_000 + b"\n",
        "huge-float": b"[method]\nlanes = 1e999999999\n",
        "negative": b"[method]\nlanes = -1\n",
        "wrong-type": b"[method]\nlanes = {a = 1}\n",
        "unknown": b"[method]\nlanez = 1\n",
        "no-section": b"lanes = 1\n",
        "not-utf8": b"[method]\nsolver = \"\xff\xfe\"\n",
        "null-sign": b"[method]\nsolver = \"a\0b\"\n",
        "twice": b"[method]\nlanes = 1\nlanes = 2\n",
        "escape": b"[method]\nsolver = \"\\u001b[31m\"\n",
    }
    for name, text in texts.items():
        raw(f"{name}.toml", text)
        case(f"{name}.toml", 78, command=command)
    with open(folder / "sparse.toml", "wb") as file:
        file.truncate(1 << 40)
    case("sparse.toml", 78, "bytes", command=command)
    os.symlink("/dev/zero", folder / "zero.toml")
    os.mkfifo(folder / "pipe.toml")
    for name in ["zero.toml", "pipe.toml"]:
        case(name, 78, "regular file", command=command)


def arrays():
    """IDX, npy and CIFAR files, read by a plugin."""
    command = ["convert", "plugin:KIND?path={f}", "{o}"]

    def bad(name, kind, content, *words, code=65):
        raw(name, content)
        case(name, code, *words, command=[word.replace("KIND", kind) for word in command], env={"GFE_PLUGIN_PATH": "{p}"})

    idx = lambda lens, body=b"", code=8: bytes([0, 0, code, len(lens)]) + b"".join(struct.pack(">I", n) for n in lens) + body
    bad("fine.idx", "idx", idx([2, 3], b"\0" * 6), code=0)
    bad("product.idx", "idx", idx([2**32 - 1] * 8))
    bad("terabytes.idx", "idx", idx([2**32 - 1, 28, 28]), "cut short")
    bad("short.idx", "idx", idx([2, 3], b"\0" * 5), "cut short")
    bad("long.idx", "idx", idx([2, 3], b"\0" * 7), "too long")
    bad("rank-255.idx", "idx", idx([1] * 255, b"\0"))
    bad("type.idx", "idx", idx([2, 3], b"\0" * 6, code=0x0A), "type")
    bad("cut.idx", "idx", b"\0\0\x08\xff\0\0")
    bad("empty.idx", "idx", b"")
    bomb = gzip.compress(idx([1, 28, 28]) + b"\0" * (1 << 28), 9)
    bad("bomb.idx.gz", "idx", bomb, "more follow")
    bad("declared.idx.gz", "idx", gzip.compress(idx([2**20, 28, 28])), "max_bytes")

    def npy(descr="'<f4'", order="False", shape="(2, 3)", body=b"\0" * 24, version=b"\x01\x00", length=None, header=None):
        text = header or f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
        text += b" " * (63 - len(text) % 64) + b"\n"
        size = len(text) if length is None else length
        return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", size) + text + body

    bad("fine.npy", "npy", npy(), code=0)
    bad("fortran.npy", "npy", npy(order="True"), code=0)
    bad("objects.npy", "npy", npy("'|O'"), "pickled")
    bad("product.npy", "npy", npy(shape="(9223372036854775807, 9223372036854775807)"))
    bad("terabytes.npy", "npy", npy(shape="(1099511627776, 3)"), "cut short")
    bad("negative.npy", "npy", npy(shape="(-2, 3)"))
    bad("rank-40.npy", "npy", npy(shape="(" + "1," * 40 + ")"))
    bad("version.npy", "npy", npy(version=b"\x09\x00"), "version")
    bad("header.npy", "npy", npy(version=b"\x02\x00", length=2**32 - 1), "limit")
    bad("code.npy", "npy", npy(header=b"__import__('os').system('touch evil')"))
    bad("nested.npy", "npy", npy(header=b"(" * 9000))
    bad("structured.npy", "npy", npy("[('a', '<f4')]"))
    bad("empty.npy", "npy", b"")
    bad("short.cifar", "cifar", b"\1" * 3072)
    bad("label.cifar", "cifar", b"\xff" * 3073)
    bad("empty.cifar", "cifar", b"", code=0)


for make in [fine, filters, elsewhere, shapes, types, attributes, no_hdf5, models, run_files, arrays]:
    make()
(folder / "cases.json").write_text(json.dumps(cases, indent=1))
