"""Fuzzing: what is fuzzed (`targets`), where it begins (`seeds`), and mutations without a fuzzer (`engine`)."""
