"""Every collector keeps the contract of `base.Collector`, and every module of the package has one."""

from __future__ import annotations

import pkgutil
import re
from urllib.parse import urlsplit

import pytest

from rackrate.catalog.provider import find_provider
from rackrate.errors import UnknownName
from rackrate.market.collect import collectors, pick, providers
from rackrate.market.collect.rates import RateCollector

LISTS = {"ecb", "gpuhunt", "gpurentalprices", "skypilot"}  # not a provider each
NAMES = {"linode": "akamai"}


def test_every_module_registers_its_collector_under_its_own_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(providers.__path__)}
    assert set(collectors()) == {name.rstrip("_") for name in modules}


@pytest.mark.parametrize("name", collectors())
def test_a_collector_declares_all_that_its_contract_asks_for(name: str) -> None:
    collector = collectors()[name]
    for said in (collector.title, collector.units, collector.pagination, collector.terms, collector.licence):
        assert said.strip()
    assert collector.hosts
    for host in collector.hosts:
        parts = urlsplit(host)
        assert (parts.scheme, parts.path) == ("https", "")
    assert collector.page.startswith("https://")
    assert re.fullmatch(r"[A-Z]{3}|", collector.currency)
    assert collector.price_per in ("instance", "gpu")
    assert 0 < collector.requests_per_s <= 5
    assert collector.cadence in ("live", "daily", "once")
    assert collector.parser_version >= 1
    if name not in LISTS:
        assert find_provider(NAMES.get(name, name)).slug


@pytest.mark.parametrize("name", collectors())
def test_the_first_question_goes_to_a_declared_host_and_shows_no_key(name: str) -> None:
    collector = collectors()[name]
    keys = dict.fromkeys(collector.auth, "c2VjcmV0LWtleQ")
    asking = collector.requests(keys)
    request = next(asking)
    asking.close()
    assert request.url.startswith(collector.hosts)
    shown = f"{request.url} {request.params} {request.name}"
    assert "c2VjcmV0LWtleQ" not in shown
    assert bool(request.secrets) == bool(keys)
    assert isinstance(collector, RateCollector) == (name == "ecb")


def test_an_unknown_source_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        pick(("vats",))
    assert caught.value.code == "unknown-source"
    assert "vast" in caught.value.nearest
