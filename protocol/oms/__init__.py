"""Model signatures that tools other than Samara verify: OpenSSF Model Signing (specs/oms.md)."""

from samara.protocol.oms.bundle import Bundle, ByCertificateError, sign_manifest
from samara.protocol.oms.keys import OMS_KEY, OmsKey, OmsPublicKey, oms_seed
from samara.protocol.oms.manifest import ALWAYS_IGNORED, Compared, Made, Manifest, compare, make_manifest

__all__ = [
    "ALWAYS_IGNORED",
    "OMS_KEY",
    "Bundle",
    "ByCertificateError",
    "Compared",
    "Made",
    "Manifest",
    "OmsKey",
    "OmsPublicKey",
    "compare",
    "make_manifest",
    "oms_seed",
    "sign_manifest",
]
