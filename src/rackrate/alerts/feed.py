"""News as an Atom feed (RFC 4287), a file for any reader."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as ET

from rackrate.alerts.rule import News
from rackrate.durable import write_whole

_ATOM = "http://www.w3.org/2005/Atom"


def write(path: Path, news: Sequence[News], at: datetime) -> None:
    """Write the feed whole, the newest first; `at` is its instant while there is no news."""
    feed = ET.Element("feed", xmlns=_ATOM)
    updated = news[-1].at if news else at.isoformat(timespec="seconds")
    _add(feed, "Rackrate alerts", f"urn:uuid:{uuid5(NAMESPACE_URL, path.resolve().as_uri())}", updated)
    ET.SubElement(ET.SubElement(feed, "author"), "name").text = "Rackrate"
    for each in reversed(news):
        entry = ET.SubElement(feed, "entry")
        _add(entry, each.text, f"urn:uuid:{each.id}", each.at)
        ET.SubElement(entry, "summary").text = f"rule: {each.rule}"
    ET.indent(feed)
    text = ET.tostring(feed, encoding="unicode")
    write_whole(path, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')


def _add(parent: ET.Element, title: str, name: str, updated: str) -> None:
    for tag, text in (("title", title), ("id", name), ("updated", updated)):
        ET.SubElement(parent, tag).text = text
