"""hf_xet in its local mode: a folder stands for the server. It is in an environment of its own, like libtorrent.

Takes the folder of the store and a folder of files, and uploads the files as it would to a hub.
"""

import sys
from pathlib import Path

import hf_xet


def main() -> None:
    store, folder = map(Path, sys.argv[1:])
    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            commit.start_upload_file(str(path), sha256=hf_xet.SKIP_SHA256)
    commit.wait_to_finish()


if __name__ == "__main__":
    main()
