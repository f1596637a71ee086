"""A shared market, and its mirror on this machine.

The mirror is a store like any other, so whoever reads waits for nobody and sees a whole market. `look`
asks for the manifest by a conditional request, fetches the files that are new, holds each against its
hash, and then switches in one rename. `share` puts the files there that the shared market lacks, and
then its manifest in the place of the one that was read: if that is no longer there, another writer was
faster, and theirs and ours are put together and tried again. A file that no manifest names does not exist
for readers, so half of an upload is never seen.

    MIRROR/
      manifest.json, *.parquet, lock   a store: the shared market's files, and ours that wait to be shared
      shared.json                      address, tag and files of the manifest that was seen last; its
                                       time is that of the last look
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rackrate import clock, config
from rackrate.durable import sync_folder, write_whole
from rackrate.errors import DataError, StoreBroken
from rackrate.market.bucket import Bucket, Outrun, endpoint
from rackrate.market.rates import merged
from rackrate.market.store import manifest
from rackrate.market.store.manifest import File, Manifest
from rackrate.units import format_age

AGAIN_S = 60.0
"""Within one process, the shared market is asked no more often than that."""

_TRIES = 20
_MOST_WAIT_S = 0.5
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PASSING = ("network", "store-broken")
"""What may be over at the next look, so that until then the mirror answers."""

_looked: dict[Path, tuple[float, str]] = {}
"""Mirror to when this process looked last, and what came of it."""


class Mirror:
    """A shared market and its mirror.

    Attributes:
        address: `s3://bucket/prefix`.
        folder: the mirror.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        name = re.sub(r"[^\w.-]+", "-", address.removeprefix("s3://"))
        mark = hashlib.sha256(f"{endpoint()} {address}".encode()).hexdigest()[:8]
        self.folder = config.mirrors_folder() / f"{name}-{mark}"
        self._state = self.folder / "shared.json"

    def look(self, *, is_due: bool = False) -> str:
        """Bring the mirror up to date; return why it could not be, or nothing.

        Args:
            is_due: ask even when this process has asked a moment ago.

        Raises:
            DataError: it cannot be had and there is no mirror yet; the key is not taken; no such bucket.
            Refused: the mirror cannot be written.
        """
        at, why = _looked.get(self.folder, (-AGAIN_S, ""))
        if is_due or time.monotonic() - at >= AGAIN_S:
            why = self._look()
            _looked[self.folder] = time.monotonic(), why
        return why

    def _look(self) -> str:
        try:
            self._fetch(Bucket(self.address))
        except DataError as error:
            if error.code not in _PASSING or not self._state.exists():
                raise
            at = datetime.fromtimestamp(self._state.stat().st_mtime, UTC)
            return f"{error.message}; the mirror of {format_age(clock.now() - at)} ago answers"
        return ""

    def share(self, origin: Path | None = None) -> int:
        """Put the files of a store there that the shared market lacks.

        Args:
            origin: the store; None for the mirror, with what was added to it here.

        Returns:
            How many files were new there.

        Raises:
            DataError: it cannot be written, or others were faster time and again.
            StoreBroken: a file of ours is damaged, or the shared manifest is.
        """
        bucket = Bucket(self.address)
        known = frozenset() if origin else frozenset(self._seen().get("files", ()))
        n_new = self._publish(bucket, origin or self.folder, known)
        self._fetch(bucket)
        _looked[self.folder] = time.monotonic(), ""
        return n_new

    def _publish(self, bucket: Bucket, origin: Path, known: frozenset[str]) -> int:
        """Put there what is new in `origin`; what was `known` to be there once and is not was taken away."""
        ours, there = manifest.load(origin), set[str]()
        for _ in range(_TRIES):
            theirs, tag = self._theirs(bucket)
            new = [file for file in _lacking(ours.files, theirs.files) if not tag or file.sha256 not in known]
            rates = merged(theirs.rates, ours.rates)
            if not new and rates == theirs.rates:
                return 0
            for file in new:
                if file.sha256 not in there:
                    bucket.put(origin / file.name, file.sha256)
                    there.add(file.sha256)
            try:
                bucket.swap(
                    manifest.written(Manifest((*theirs.files, *_renamed(new, theirs.files)), rates)), tag
                )
            except Outrun:
                time.sleep(random.uniform(0, _MOST_WAIT_S))  # noqa: S311 - so that two do not meet again
            else:
                return len(new)
        raise DataError(f"{self.address}: other writers were faster {_TRIES} times", code="busy")

    def _theirs(self, bucket: Bucket) -> tuple[Manifest, str]:
        found = bucket.manifest()
        text, tag = found or (b"", "")
        return self._read(text, tag), tag

    def _read(self, text: bytes, tag: str) -> Manifest:
        """Read a manifest from elsewhere, whose names become those of files here; no tag, no manifest."""
        found = manifest.read(text, f"{self.address}/{manifest.NAME}") if tag else Manifest()
        for file in found.files:
            if not manifest.is_ours(file.name) or not _SHA256.fullmatch(file.sha256):
                raise StoreBroken(
                    f"{self.address}/{manifest.NAME} names {file.name!r:.80}, no file of a market"
                )
        return found

    def _fetch(self, bucket: Bucket) -> None:
        """Bring the mirror up to date."""
        known = self._tag()
        found = bucket.manifest(known)
        if found is not None:
            with manifest.writing(self.folder) as current:
                if self._tag() != known:  # another process has brought it up to date meanwhile
                    known = self._tag()
                    found = bucket.manifest(known)
                if found is not None:
                    self._take(bucket, current, *found, known)
        at_s = clock.now().timestamp()
        with suppress(OSError):  # a mirror that others keep up to date answers all the same
            os.utime(self._state, (at_s, at_s))

    def _take(self, bucket: Bucket, current: Manifest, text: bytes, tag: str, known: str) -> None:
        """Fetch what is new, then switch; what was added here and is not shared yet stays."""
        if known and not tag:
            raise StoreBroken(f"{self.address}/{manifest.NAME} is gone")
        theirs = self._read(text, tag)
        seen = {*self._seen().get("files", ()), *(file.sha256 for file in theirs.files)}
        ours = [file for file in current.files if file.sha256 not in seen]
        here = {(file.name, file.sha256) for file in current.files}
        try:
            kept = [self._kept(file, to) for file, to in zip(ours, _renamed(ours, theirs.files), strict=True)]
            for file in theirs.files:
                if (file.name, file.sha256) not in here or not (self.folder / file.name).exists():
                    self._get(bucket, file)
            sync_folder(self.folder)
            rates = merged(current.rates, theirs.rates)
            manifest.save(self.folder, Manifest((*theirs.files, *kept), rates))
            doc = {"address": self.address, "tag": tag, "files": [file.sha256 for file in theirs.files]}
            write_whole(self._state, json.dumps(doc))
        except OSError as error:
            message = f"cannot write to {self.folder}: {error.strerror}"
            raise DataError(message, hint="the mirror is as it was before", code="disk") from error

    def _get(self, bucket: Bucket, file: File) -> None:
        temporary = self.folder / f"{file.name}.tmp"
        try:
            bucket.get(file.sha256, temporary)
            temporary.replace(self.folder / file.name)
        finally:
            temporary.unlink(missing_ok=True)

    def _kept(self, file: File, to: File) -> File:
        """Give a file of ours another name where the shared market has come to use its own."""
        if file.name != to.name:
            os.link(self.folder / file.name, self.folder / to.name)
        return to

    def _tag(self) -> str:
        return str(self._seen().get("tag", ""))

    def _seen(self) -> Mapping[str, Any]:
        """Return what is known of the manifest that was seen last; nothing when that is lost."""
        try:
            found = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and (self.folder / manifest.NAME).exists() else {}


def _lacking(files: Sequence[File], among: Sequence[File]) -> list[File]:
    """Return those files whose content is not among the others."""
    there = {file.sha256 for file in among}
    return [file for file in files if file.sha256 not in there]


def _renamed(files: Sequence[File], taken: Sequence[File]) -> list[File]:
    """Return the files, those whose name is taken (the same list, graded otherwise) by another name."""
    names = {file.name for file in taken}
    return [
        replace(file, name=f"{file.name.removesuffix('.parquet')}-{file.sha256[:12]}.parquet")
        if file.name in names
        else file
        for file in files
    ]
