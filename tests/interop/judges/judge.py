"""What other people's libraries say of a file that Samara wrote: run with the Python that has them.

    judge.py cyclonedx FILE         valid under the official JSON schema?
    judge.py spdx FILE              read by the official model's bindings, every element, and written again?
    judge.py envelope FILE DID HEX  a DSSE envelope by that Ed25519 key, with an in-toto statement in it?

It prints one JSON object, and fails when they refuse it.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cyclonedx(path: str) -> dict[str, Any]:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = Path(path).read_text(encoding="ascii")
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise ValueError(str(wrong))
    return {"components": len(json.loads(text)["components"])}


def spdx(path: str) -> dict[str, Any]:
    from spdx_python_model.bindings import v3_0_1 as model

    objects = model.SHACLObjectSet()
    with open(path, "rb") as file:
        model.JSONLDDeserializer().read(file, objects)
    missing = objects.link()
    # Only writing checks that what the model requires is there.
    model.JSONLDSerializer().write(objects, io.BytesIO())
    found = sorted(type(each).__name__ for each in objects.objects)
    return {"types": found, "missing": sorted(map(str, missing or []))}


def envelope(path: str, did: str, public: str) -> dict[str, Any]:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    found = Envelope.from_dict(json.loads(Path(path).read_bytes()))
    signed = found.verify([SSlibKey(did, "ed25519", "ed25519", {"public": public})], 1)
    parsed = json_format.Parse(found.payload, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    return {
        "keys": sorted(signed),
        "type": parsed.predicate_type,
        "subject": {each.name: dict(each.digest) for each in parsed.subject},
        "predicate": json_format.MessageToDict(parsed.predicate),
    }


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    judges: dict[str, Callable[..., dict[str, Any]]] = {"cyclonedx": cyclonedx, "spdx": spdx, "envelope": envelope}
    print(json.dumps(judges[what](*arguments)))
