"""Writes JSON lines as parquet: pyarrow is in an environment of its own, like libtorrent (scripts/bench_setup.py).

Takes the file of lines, the parquet file, and `chunked` when pages are to be cut by their content.
"""

import sys

import pyarrow.parquet as pq
from pyarrow import json


def main() -> None:
    lines, path, *how = sys.argv[1:]
    options = {"use_content_defined_chunking": True} if how == ["chunked"] else {}
    pq.write_table(json.read_json(lines), path, compression="zstd", **options)


if __name__ == "__main__":
    main()
