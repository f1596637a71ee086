"""Collected lists of a format that can also be imported: the importer reads them, so there is one reader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from rackrate.errors import ImportRejected
from rackrate.market.collect.base import Answer, LayoutChanged
from rackrate.market.importers import Reader
from rackrate.market.importers.files import When
from rackrate.market.normalise import Reject
from rackrate.market.offer import RawOffer


def listed(read: Reader, answers: Sequence[Answer], at: datetime) -> Iterator[RawOffer | Reject]:
    """Yield what an importer reads in answers whose names are file names.

    Args:
        read: of the importer.
        answers: what came.
        at: when it was read.

    Raises:
        LayoutChanged: the importer cannot take it.
    """
    with TemporaryDirectory() as folder:
        for answer in answers:
            path = Path(folder) / answer.name
            with answer.open() as body, path.open("wb") as out:
                shutil.copyfileobj(body, out)
            try:
                for listing in read(path, When(answer.modified_at, at)):
                    yield from cast("Iterator[RawOffer | Reject]", listing.rows)
            except ImportRejected as error:
                says = error.message.replace(f"{folder}/", "")
                raise LayoutChanged(says[:200]) from None
