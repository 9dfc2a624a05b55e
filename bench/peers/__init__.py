"""One module for each program that `compare.py` runs; `base.py` says what they have in common."""
