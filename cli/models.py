"""The Python door to single tensors: what a release has, what of it is here, and its bytes.

    model = samara.open_model("alice/tiny-chat")          # of its files only the headers are fetched
    model.fetch("model.layers.0.*")                       # these tensors, and nothing else
    weights = model.array("model.layers.0.mlp.up_proj.weight")

What is fetched is seeded like any other part of a release, and `samara fetch` completes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

from samara.cli.doors import ask, call, look
from samara.node.operations.base import Event, Report
from samara.node.operations.fetch import FETCH, FetchRequest
from samara.node.operations.tensors import (
    TENSORS,
    TensorRequest,
    Tensors,
    TensorsRequest,
    read_tensor,
)
from samara.protocol.errors import ReadOnlyError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Model", "open_model"]

_DTYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip
"""What numpy has, of the types of safetensors and GGUF."""


def open_model(ref: str, *, peers: Sequence[str] = (), patience: float = 30.0, report: Report | None = None) -> Model:
    """Open a release to read its tensors; the headers of its model files are fetched when they are not here.

    Args:
        ref: A REF (specs/records.md, "REF and link").
        peers: Multiaddrs with `/p2p/…` of peers to ask first.
        patience: Seconds with nobody who has it until it is given up; 0 never gives up.
        report: Is told how the fetch goes.

    Raises:
        NotFoundError: Nobody has it.
        UsageError: It has no model files.
        ModelHeaderError: None of its files is a model.
        SamaraError: What a fetch raises.

    Source: specs/cli.md, "Tensors".
    """
    model = Model(ref, peers, patience)
    try:
        model._fetch(FetchRequest(ref, peers=tuple(peers), patience=patience, headers=True), report or _ignore)
    except ReadOnlyError:  # then what is here is all there is
        model.look()
    return model


@final
class Model:
    """A release whose tensors are read one by one.

    Attributes:
        release: Its id, once that is known; else the REF.
    """

    def __init__(self, ref: str, peers: Sequence[str], patience: float) -> None:
        self.release = ref
        self._ref = ref  # a link knows peers
        self._peers = tuple(peers)
        self._patience = patience

    def look(self) -> Tensors:
        """Return its tensors, and which of them are here.

        Raises:
            NotFoundError: Its headers are not here.
        """
        return ask(TENSORS, TensorsRequest(self.release))

    def fetch(self, *tensors: str, report: Report | None = None) -> None:
        """Fetch tensors, by their names or by patterns of such, and nothing else.

        Raises:
            NotFoundError: There is no such tensor, or nobody has it.
            SamaraError: What a fetch raises.
        """
        if not tensors:
            raise UsageError("no tensor is named", hint="Name one, or a pattern: 'model.layers.0.*'.")
        request = FetchRequest(self._ref, peers=self._peers, patience=self._patience, tensors=tensors)
        self._fetch(request, report or _ignore)

    def read(self, name: str) -> memoryview:
        """Return the bytes of a tensor that is here, as they lie in the file; each chunk of them was verified.

        Raises:
            NotFoundError: There is no such tensor, or not all of it is here.
        """
        return memoryview(look(lambda store: read_tensor(store, TensorRequest(self.release, name)))[2])

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor that is here; of a GGUF file its lengths stand the other way round, as numpy has them.

        Raises:
            UsageError: numpy has no such type: BF16, or a quantized one. `read` gives its bytes.
            NotFoundError: As `read`.
        """
        import numpy as np

        container, tensor, data = look(lambda store: read_tensor(store, TensorRequest(self.release, name)))
        if tensor.type not in _DTYPES:
            raise UsageError(f"numpy has no type {tensor.type}", hint="read gives the bytes as they are.")
        shape = tensor.shape[::-1] if container == "gguf" else tensor.shape
        return np.frombuffer(data, np.dtype(_DTYPES[tensor.type])).reshape(shape)

    def _fetch(self, request: FetchRequest, report: Report) -> None:
        self.release = call(FETCH, request, report).release


def _ignore(event: Event) -> None:
    """Nobody wants to know."""
