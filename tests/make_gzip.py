"""Writes a gzip of a file's bytes followed by so many zeros: HEAD ZEROS OUT."""

import gzip
import sys

head, zeros, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
block = bytes(1 << 24)
with gzip.open(out, "wb", compresslevel=1) as file:
    file.write(open(head, "rb").read())
    while zeros > 0:
        file.write(block[: min(zeros, len(block))])
        zeros -= len(block)
