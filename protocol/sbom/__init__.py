"""Bills of materials: a release as tools other than Samara describe one (specs/sbom.md)."""

from samara.protocol.sbom.cyclonedx import cyclonedx
from samara.protocol.sbom.spdx import spdx

__all__ = ["cyclonedx", "spdx"]
