"""`python -m samara`: the command line."""

from samara.cli.main import main

if __name__ == "__main__":
    main()
