"""`python -m samara`: the command line."""

import sys

from samara.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
