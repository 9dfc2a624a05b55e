"""Bills of materials say what the release says, no more, and the same each time.

That they are valid, other people's libraries say: tests/interop/test_judges.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.releases import FULL, made

from samara.protocol.ids import format_record
from samara.protocol.records import Kind
from samara.protocol.sbom import cyclonedx, spdx
from samara.protocol.sbom.facts import is_url

Document = dict[str, Any]


def bom(**changes: Any) -> Document:
    release, table = made(**changes)
    found: Document = json.loads(json.dumps(cyclonedx(release, table, version="1")))
    return found


def graph(**changes: Any) -> list[Document]:
    release, table = made(**changes)
    found: list[Document] = json.loads(json.dumps(spdx(release, table, version="1")))["@graph"]
    return found


def of_type(elements: list[Document], kind: str) -> list[Document]:
    return [element for element in elements if element["type"] == kind]


def related(elements: list[Document], kind: str) -> list[tuple[str, list[str]]]:
    found = of_type(elements, "Relationship")
    return [(each["from"], each["to"]) for each in found if each["relationshipType"] == kind]


def names(elements: list[Document], ids: list[str]) -> list[str]:
    return [element["name"] for wanted in ids for element in elements if element.get("spdxId") == wanted]


def properties(found: Mapping[str, Any]) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for each in found["properties"]:
        said.setdefault(each["name"].removeprefix("samara:"), []).append(each["value"])
    return said


def test_the_same_release_gives_the_same_documents_and_another_one_others() -> None:
    assert bom() == bom()
    assert graph() == graph()
    assert bom()["serialNumber"] != bom(version="2")["serialNumber"]
    assert bom()["metadata"]["timestamp"] == FULL.issued


def test_cyclonedx_says_what_the_release_says() -> None:
    release, table = made()
    found = bom()
    component = found["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    assert (component["name"], component["version"]) == (FULL.name, FULL.version)
    assert component["publisher"] == format_record(release.release.publisher)
    assert component["licenses"] == [{"expression": FULL.license}]
    assert [author["name"] for author in component["authors"]] == list(FULL.contributors)
    assert [each["name"] for each in component["pedigree"]["ancestors"]] == list(FULL.lineage.bases)
    parameters = component["modelCard"]["modelParameters"]
    assert parameters["modelArchitecture"] == "llama"
    assert [each["name"] for each in parameters["datasets"]] == list(FULL.lineage.datasets)
    said = properties(component)
    assert said["key"] == list(release.signers.keys)
    assert said["release"] == [format_record(release.id)]
    assert said["code"] == list(FULL.lineage.code)
    assert said["format.parameters"] == ["7000000000"]
    for file, entry in zip(found["components"], table, strict=True):
        assert file["name"] == entry.path
        assert {each["alg"]: each["content"] for each in file["hashes"]} == {
            "SHA-256": entry.sha256.hex(),
            "BLAKE3": entry.blake3.hex(),
        }
        assert properties(file) == {"bytes": [str(entry.size)]}


def test_spdx_says_what_the_release_says() -> None:
    release, table = made()
    elements = graph()
    (package,) = of_type(elements, "ai_AIPackage")
    assert package["spdxId"] == package["software_downloadLocation"] == f"samara:{format_record(release.id)}"
    assert (package["name"], package["software_packageVersion"]) == (FULL.name, FULL.version)
    assert package["ai_typeOfModel"] == ["llama"]
    assert names(elements, package["originatedBy"]) == [format_record(release.release.publisher), *FULL.contributors]
    (supplier,) = [each for each in elements if each.get("spdxId") == package["suppliedBy"]]
    assert [each["identifier"] for each in supplier["externalIdentifier"]] == list(release.signers.keys)
    (contains,) = related(elements, "contains")
    assert names(elements, contains[1]) == [entry.path for entry in table]
    for file, entry in zip(of_type(elements, "software_File"), table, strict=True):
        hashes = {each["algorithm"]: each["hashValue"] for each in file["verifiedUsing"]}
        assert hashes == {"sha256": entry.sha256.hex(), "blake3": entry.blake3.hex()}
    (descends,), (trained,) = related(elements, "descendantOf"), related(elements, "trainedOn")
    assert names(elements, descends[1]) == list(FULL.lineage.bases)
    assert names(elements, trained[1]) == list(FULL.lineage.datasets)
    generators = [
        names(elements, [one]) for one, others in related(elements, "generates") if others == [package["spdxId"]]
    ]
    assert generators == [[name] for name in FULL.lineage.code]
    (expression,) = of_type(elements, "simplelicensing_LicenseExpression")
    assert expression["simplelicensing_licenseExpression"] == FULL.license
    (document,) = of_type(elements, "SpdxDocument")
    assert set(document["element"]) == {each["spdxId"] for each in elements if "spdxId" in each} - {document["spdxId"]}
    ids = [each["spdxId"] for each in elements if "spdxId" in each]
    assert len(set(ids)) == len(ids)


def test_what_nobody_stated_is_not_made_up() -> None:
    component = bom(bare=True)["metadata"]["component"]
    assert not component.keys() & {"licenses", "authors", "pedigree"}
    assert component["modelCard"] == {"modelParameters": {}}
    elements = graph(bare=True)
    assert not of_type(elements, "simplelicensing_LicenseExpression")
    for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
        ((_, licenses),) = related(elements, kind)
        assert licenses == ["https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"]
    assert {each["relationshipType"] for each in of_type(elements, "Relationship")} == {
        "contains",
        "hasDeclaredLicense",
        "hasConcludedLicense",
    }


@pytest.mark.parametrize(
    ("kind", "component", "package"),
    [
        (Kind.MODEL, "machine-learning-model", "ai_AIPackage"),
        (Kind.ADAPTER, "machine-learning-model", "ai_AIPackage"),
        (Kind.DATASET, "data", "dataset_DatasetPackage"),
        (Kind.COLLECTION, "data", "software_Package"),
        (Kind.DELTA, "data", "software_Package"),
    ],
)
def test_each_kind_is_what_it_is(kind: Kind, component: str, package: str) -> None:
    found = bom(kind=kind)["metadata"]["component"]
    assert found["type"] == component
    assert ("modelCard" in found) == (component == "machine-learning-model")
    elements = graph(kind=kind)
    (document,) = of_type(elements, "SpdxDocument")
    (root,) = [each for each in elements if each.get("spdxId") == document["rootElement"][0]]
    assert root["type"] == package
    assert bool(related(elements, "trainedOn")) == (component == "machine-learning-model")


def test_without_its_table_a_release_has_no_files() -> None:
    release, _ = made()
    assert cyclonedx(release, [], version="1")["components"] == []
    elements: Any = spdx(release, [], version="1")["@graph"]
    assert not related(elements, "contains")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/a/b?c=d#e", True),
        ("http://example.org", True),
        ("https://example.org/100%25", True),
        ("https://example.org/100%", False),
        ("https://example.org/a b", False),
        ("https://example.org/a#b#c", False),
        ("https://example.org/ü", False),
        ("https://", False),
        ("ftp://example.org", False),
        ("meta-llama/Llama-2-7b", False),
        ("javascript:alert(1)", False),
    ],
)
def test_only_what_is_a_url_for_sure_is_called_one(text: str, expected: bool) -> None:
    assert is_url(text) is expected
