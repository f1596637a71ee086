"""Which sources are asked, where, and with which keys: flags over environment over configuration files.

    [collect]                        # in rackrate.toml or the user's config.toml
    enable = ["runpod"]              # RACKRATE_COLLECT_ENABLE=runpod,...: sources that are off by themselves
    disable = ["linode"]             # RACKRATE_COLLECT_DISABLE
    [collect.urls]
    vast = "http://127.0.0.1:8000"   # RACKRATE_COLLECT_URL_VAST: asked instead of the source's own hosts

Keys come from the environment alone, never from a file of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from rackrate import config
from rackrate.errors import UsageError
from rackrate.market.collect.base import Collector, SourceFailed

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Settings:
    """What the user decided.

    Attributes:
        enabled: sources switched on that are off by themselves.
        disabled: sources switched off.
        urls: source to the address that is asked instead of its own hosts.
        environment: where keys stand.
    """

    enabled: frozenset[str]
    disabled: frozenset[str]
    urls: Mapping[str, str]
    environment: Mapping[str, str]

    def why_not(self, collector: Collector) -> tuple[str, str]:
        """Return why a source is not asked: `off` or `skipped`, and the reason; empty when it is."""
        if collector.name in self.disabled:
            return "off", "switched off by you"
        if collector.off and collector.name not in self.enabled:
            return "off", f"{collector.off}; --enable {collector.name} switches it on"
        missing = [name for name in collector.auth if not self.environment.get(name)]
        if missing:
            return "skipped", f"needs a key: set {' and '.join(missing)}"
        return "", ""

    def keys(self, collector: Collector) -> dict[str, str]:
        """Return the values of the environment that the collector declares, and no others."""
        names = (*collector.auth, *collector.may_use)
        return {name: self.environment[name] for name in names if self.environment.get(name)}

    def address(self, collector: Collector, url: str, *, is_secret: bool = False) -> str:
        """Return where to ask, which the user may have set; only the source's own hosts are asked.

        Raises:
            SourceFailed: an answer points to another host, or a key would go out unencrypted.
        """
        own = self.urls.get(collector.name, "").rstrip("/")
        if _origin(url) in collector.hosts:
            parts = urlsplit(url)
            query = f"?{parts.query}" if parts.query else ""
            found = f"{own}{parts.path}{query}" if own else url
        elif own and _origin(url) == _origin(own):
            found = url
        else:
            raise SourceFailed("host", f"{url:.100} is not at {' or '.join(collector.hosts)}")
        if is_secret and urlsplit(found).scheme != "https" and not _is_loopback(found):
            raise SourceFailed("insecure", f"a key would go unencrypted to {_origin(found)}")
        return found


def load(enable: Iterable[str] = ()) -> Settings:
    """Resolve flags, environment and files.

    Args:
        enable: sources switched on by a flag.

    Raises:
        UsageError: a setting is not of its kind.
    """
    table = config.table("collect")
    urls = {name: _url(value, f"collect.urls.{name}") for name, value in _dict(table, "urls").items()}
    prefix = "RACKRATE_COLLECT_URL_"
    for name, value in os.environ.items():
        if name.startswith(prefix) and value:
            urls[name.removeprefix(prefix).lower().replace("_", "-")] = _url(value, name)
    return Settings(
        frozenset(enable) | _names(table, "enable"), _names(table, "disable"), urls, dict(os.environ)
    )


def _names(table: Mapping[str, Any], key: str) -> frozenset[str]:
    said = os.environ.get(f"RACKRATE_COLLECT_{key.upper()}")
    if said is not None:
        return frozenset(name.strip() for name in said.split(",") if name.strip())
    found = table.get(key, [])
    if not isinstance(found, list):
        raise UsageError(f"collect.{key} is {found!r}, not a list of sources")
    return frozenset(map(str, found))


def _dict(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"collect.{key} is {found!r}, not a table")
    return found


def _url(value: Any, what: str) -> str:
    parts = urlsplit(str(value))
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"{what} is {value!r}, not an address", hint="http://127.0.0.1:8000, for example")
    return str(value)


def _origin(url: str) -> str:
    """Return scheme and host of an address, and the port where it is not the usual one."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
