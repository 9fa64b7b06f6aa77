#!/usr/bin/env bash
# Makes target/peers/python, a Python with PyTorch and SciPy in the versions of requirements.txt for the programs beside this
# file. It runs once, and again where these have changed.
#
# PyTorch's package is the build for NVIDIA's cards, whose libraries are another 2 GB. Here only the processor is measured:
# the package is installed without them, and small libraries of the same names, functions and versions stand in, none of
# which is ever called but cudaGetDeviceCount, which says that there is no card. Needs python3, a C compiler and binutils.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers=$PWD/target/peers
stand_ins=$peers/stand-ins
cmp -s benches/peers/requirements.txt "$peers/requirements.txt" && exit 0
rm -rf "$peers/venv" "$peers/python" "$peers/requirements.txt"
mkdir -p "$peers"
python3 -m venv "$peers/venv"
# Without what PyTorch says that it needs; the rest of the file is that, but for NVIDIA's.
"$peers/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r benches/peers/requirements.txt
libraries=$("$peers/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch/lib

rm -rf "$stand_ins"
mkdir -p "$stand_ins"
# What PyTorch's libraries need of NVIDIA's: functions, ...
symbols() { nm -D "--$1-only" "$libraries"/*.so* 2>/dev/null | awk 'NF > 1 {print $NF}' | sed 's/@.*//' | sort -u; }
comm -23 <(symbols undefined) <(symbols defined) \
    | grep -E '^(cu|__cuda|_cuda|CUpti|nccl|nv|Nv)' | grep -vx cudaGetDeviceCount > "$stand_ins/functions"
# ... the libraries themselves, and the versions asked of each.
{
    ldd "$libraries"/*.so 2>/dev/null | awk '/not found/ {print $1}' | grep -v /
    # Looked for by name when torch is imported.
    ldd "$libraries"/*.so 2>/dev/null | awk '/libcublasLt/ {sub("Lt", "", $1); print $1}'
} | sort -u > "$stand_ins/libraries"
objdump -p "$libraries"/*.so 2>/dev/null \
    | awk '/required from/ {library = $3; sub(":", "", library)} /^    0x/ && library != "" {print library, $4}' \
    | sort -u > "$stand_ins/versions"
{
    echo 'int cudaGetDeviceCount(int *count) { if (count) *count = 0; return 100; }'
    sed 's/.*/long &(void) { return 0; }/' "$stand_ins/functions"
} > "$stand_ins/functions.c"

while read -r library; do
    options=()
    versions=$(awk -v library="$library" '$1 == library {print $2}' "$stand_ins/versions")
    if [ -n "$versions" ]; then
        awk '{print $1, (NR == 1 ? "{ global: *; };" : "{ };")}' <<< "$versions" > "$stand_ins/map"
        options=("-Wl,--version-script=$stand_ins/map")
    fi
    cc -shared -fPIC -w -fno-builtin "-Wl,-soname,$library" "${options[@]}" -o "$stand_ins/$library" "$stand_ins/functions.c"
done < "$stand_ins/libraries"

printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$stand_ins" "$peers/venv/bin/python" > "$peers/python.new"
chmod +x "$peers/python.new"
"$peers/python.new" -c 'import torch; print("PyTorch", torch.__version__, "on the processor alone:", not torch.cuda.is_available())'
mv "$peers/python.new" "$peers/python"
cp benches/peers/requirements.txt "$peers/"
