"""Providers: every name in the data finds its provider, and none makes an offer vanish."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.catalog.provider import (
    ProviderMatch,
    all_providers,
    find_provider,
    match_provider,
)
from rackrate.errors import UnknownName

PROVIDERS = all_providers()
SPELLINGS = [(s, provider.slug) for provider in PROVIDERS for s in provider.spellings()]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("DataCrunch", "verda"),
        ("lambdalabs", "lambda"),
        ("crusoecloud", "crusoe"),
        ("RunPod.io", "runpod"),
        ("Amazon EC2", "aws"),
        ("AWS (EKS)", "aws"),
        ("Latitude.sh", "latitude"),
        ("Linode", "akamai"),
        ("Oracle Cloud", "oci"),
        ("jarvis-labs", "jarvislabs"),
        ("vast-ai", "vast"),
        ("dc_gnu", "dc-gnu"),
        ("Prime Intellect", "primeintellect"),
        ("Novita AI", "novita"),  # the rental page's
        ("AceCloud", "acecloud"),
        ("rcrate", "rcrate"),
    ],
)
def test_a_name_finds_its_provider(name: str, slug: str) -> None:
    assert find_provider(name).slug == slug
    assert match_provider(name) == ProviderMatch(slug, is_known=True)


@given(
    st.sampled_from(SPELLINGS),
    st.sampled_from(["-", "_", " ", ""]),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_case_and_separators_do_not_matter(
    spelling: tuple[str, str], separator: str, case: Callable[[str], str]
) -> None:
    name, slug = spelling
    varied = name.replace("-", separator).replace(" ", separator)
    assert find_provider(case(varied)).slug == slug


@given(st.text())
def test_no_name_vanishes_and_none_raises(raw: str) -> None:
    match = match_provider(raw)
    assert match.slug
    assert match.slug == match.slug.strip("-")
    assert match_provider(match.slug) == match  # a slug stands for itself


@given(st.text(), st.text())
def test_unknown_names_that_differ_in_letters_stay_apart(one: str, other: str) -> None:
    def letters(name: str) -> str:
        return match_provider(name).slug.replace("-", "")

    if match_provider(one).slug == match_provider(other).slug:
        assert letters(one) == letters(other)


def test_an_unknown_name_becomes_its_slug() -> None:
    assert match_provider("Nobody Knows Ltd.") == ProviderMatch("nobody-knows-ltd", is_known=False)
    assert match_provider("???") == ProviderMatch("unnamed", is_known=False)
    assert match_provider("阿里云").slug == "阿里云"


def test_find_provider_offers_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        find_provider("runpdo")
    assert raised.value.code == "unknown-provider"
    assert raised.value.nearest[0] == "runpod"


def test_providers_are_plain_data_with_a_value_or_a_reason_in_every_cell() -> None:
    for provider in PROVIDERS:
        plain = json.loads(json.dumps(provider.to_dict()))
        assert all(plain[name].get("source") or plain[name]["unknown"] for name in provider.facts())


def test_restricted_access_is_noted() -> None:
    assert "automated access" in (find_provider("coreweave").access.value or "")
    assert "automated access" in (find_provider("runpod").access.value or "")


def test_prices_in_euro_are_known_to_be() -> None:
    for slug in ("scaleway", "seeweb", "ovh"):
        assert find_provider(slug).billing_currency.value == "EUR"


def _market(shared: Path) -> Path:
    return shared / "data" / "market"


def _column(path: Path, column: str) -> set[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row[column] for row in csv.DictReader(file)}


def _known(names: Iterable[str]) -> None:
    assert [name for name in sorted(names) if not match_provider(name).is_known] == []


def test_gpurentalprices(shared: Path) -> None:
    days = sorted((_market(shared) / "gpurentalprices" / "snapshots").glob("*.json"))
    newest = json.loads(days[-1].read_text(encoding="utf-8"))
    assert len(newest["providers"]) == 34
    _known(newest["providers"].keys() | {offer["provider"] for offer in newest["offers"]})


def test_tardellirs(shared: Path) -> None:
    path = _market(shared) / "tardellirs" / "providers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    _known({row["id"] for row in rows} | {row["name"] for row in rows})


def test_the_skypilot_catalogues_and_the_clouds_behind_them(shared: Path) -> None:
    folder = _market(shared) / "skypilot_catalog"
    _known({path.stem for path in folder.glob("*.csv")})
    upstream = _column(folder / "primeintellect.csv", "InstanceType")
    _known({name.split("__")[0] for name in upstream})
    upstream = _column(folder / "shadeform.csv", "InstanceType")
    _known({name.split("_")[0] for name in upstream})


def test_primeintellect_history(shared: Path) -> None:
    for path in (_market(shared) / "primeintellect_history").glob("*.jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            _known({name for line in lines for name in json.loads(line).get("by_provider", {})})


def test_the_full_stack_tables(shared: Path) -> None:
    folder = _market(shared) / "fsdl"
    clouds = {name for path in folder.glob("cloud-*.csv") for name in _column(path, "Cloud")}
    _known(clouds - {"Cloud"})  # a stray second header stands in one version as a row
    _known(_column(folder / "serverless-gpus.csv", "Vendor"))


def test_european_clouds_with_gpus(shared: Path) -> None:
    path = _market(shared) / "eu_cloud_prices" / "providers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    gpu = {slug: row for slug, row in rows.items() if row["gpu_available"]}
    _known(gpu.keys() | {row["name"] for row in gpu.values()})
    for slug, row in gpu.items():
        assert find_provider(slug).home_country.value == row["country"]


def test_sparecores(shared: Path) -> None:
    path = _market(shared) / "sparecores" / "gpu_servers.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        _known({json.loads(line)["vendor_id"] for line in lines})
