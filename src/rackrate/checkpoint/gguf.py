"""What a .gguf file holds: its metadata and, for each tensor, name, shape, type and bytes.

Versions 2 and 3, little and big endian. The header is read from the front, a piece at a time, as far
as it goes: how long it is stands nowhere. The vocabulary, which is most of it, is stepped over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.checkpoint.ggml_types import REMOVED, TYPES
from rackrate.checkpoint.header import StoredTensor
from rackrate.checkpoint.source import Source, clip
from rackrate.errors import ImportRejected

MAGIC = b"GGUF"
HEADER_LIMIT_BYTES = 256 * 2**20
"""Vocabularies of 262,144 tokens with merges and templates make 16 MB; 256 MiB is no header."""

LONGEST_LIST = 4096
"""Longest array whose values are kept: beyond a model's layers, it is about tokens."""

_FIRST_BYTES = 2**16
_MAX_NAME_BYTES = 65_535  # the format's bound of a key; ggml's of a tensor's name is 64
_MAX_DIMS = 8  # ggml has 4; diffusion converters have written 5
_MAX_SIZE = 2**63
_DEFAULT_ALIGNMENT = 32
_LEAST_ENTRY_BYTES = 12  # the smallest key and value: an 8-byte length, a type, no bytes
_LEAST_TENSOR_BYTES = 24  # the smallest tensor: length, dimensions, type, offset
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array of the metadata whose values were stepped over.

    Attributes:
        n: how many values it has.
    """

    n: int


@dataclass(frozen=True)
class GgufFile:
    """The header of one file.

    Attributes:
        metadata: values by key; arrays longer than `LONGEST_LIST`, and all of strings, are `LongArray`.
        tensors: in the order of their data.
    """

    metadata: Mapping[str, Any]
    tensors: tuple[StoredTensor, ...]

    @property
    def n_parts(self) -> int:
        """Files of the split that it belongs to; 1 when it stands alone."""
        found = self.metadata.get("split.count", 1)
        return max(found, 1) if isinstance(found, int) else 1


def read_file(source: Source) -> GgufFile:
    """Return what a file holds.

    Raises:
        ImportRejected: not GGUF, of a version or tensor type we do not know, cut off, or contradicting
            itself.
    """
    cursor = _Cursor(source)
    if cursor.take(4) != MAGIC:
        raise _bad(source, "it does not begin with GGUF")
    n_tensors, n_entries = _start(cursor)
    metadata = _metadata(cursor, n_entries)
    placed = [_tensor(cursor) for _ in range(n_tensors)]
    if len({tensor.name for _, tensor in placed}) < n_tensors:
        raise _bad(source, "it names a tensor twice")
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _bad(source, f"general.alignment is {clip(repr(alignment))}, not a power of two")
    placed.sort(key=lambda item: (item[0], item[1].n_bytes))
    _check_layout(cursor, placed, alignment)
    return GgufFile(metadata, tuple(tensor for _, tensor in placed))


def _start(cursor: _Cursor) -> tuple[int, int]:
    """Read the version, with it the byte order, and how many tensors and entries there are."""
    raw = cursor.take(4)
    version = int.from_bytes(raw, "little")
    if version & 0xFFFF == 0:  # 3 read the wrong way round is 0x03000000
        version = int.from_bytes(raw, "big")
        cursor.order = ">"
    if version not in (2, 3):
        hint = "convert the model again" if version == 1 else "this version of Rackrate knows 2 and 3"
        raise ImportRejected(f"{clip(cursor.source.name)} is GGUF of version {version}", hint=hint)
    n_tensors, n_entries = cursor.unpack("Q"), cursor.unpack("Q")
    cursor.reserve(n_tensors * _LEAST_TENSOR_BYTES + n_entries * _LEAST_ENTRY_BYTES)
    return n_tensors, n_entries


def _metadata(cursor: _Cursor, n_entries: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(n_entries):
        key = cursor.name("key")
        if key in found:
            raise _bad(cursor.source, f"the key {clip(key)} stands there twice")
        found[key] = _value(cursor, key)
    return found


def _value(cursor: _Cursor, key: str) -> Any:
    kind = cursor.unpack("I")
    if kind == _STRING:
        return cursor.take(cursor.unpack("Q")).decode(errors="replace")
    if kind in _SCALARS:
        return cursor.unpack(_SCALARS[kind])
    if kind != _ARRAY:
        raise _bad(cursor.source, f"the value of {clip(key)} is of type {kind}, which there is not")
    inner, n = cursor.unpack("I"), cursor.unpack("Q")
    if inner == _STRING:
        cursor.skip_strings(n)
        return LongArray(n)
    if inner not in _SCALARS:  # ggml refuses arrays of arrays, too
        raise _bad(cursor.source, f"the array {clip(key)} is of type {inner}, which it cannot be")
    letter = _SCALARS[inner]
    n_bytes = n * struct.calcsize(f"={letter}")
    if n > LONGEST_LIST:
        cursor.skip(n_bytes)
        return LongArray(n)
    return list(struct.unpack(f"{cursor.order}{n}{letter}", cursor.take(n_bytes)))


def _tensor(cursor: _Cursor) -> tuple[int, StoredTensor]:
    """Return where the data of a tensor begin, and the tensor."""
    name = cursor.name("tensor")
    n_dims = cursor.unpack("I")
    if n_dims > _MAX_DIMS:
        raise _bad(cursor.source, f"{clip(name)} has {n_dims} dimensions")
    shape = tuple(cursor.unpack("Q") for _ in range(n_dims))[::-1]
    number, offset = cursor.unpack("I"), cursor.unpack("Q")
    if number not in TYPES:
        raise _unknown_type(cursor.source, name, number)
    kind, n_elements = TYPES[number], math.prod(shape)
    if n_elements >= _MAX_SIZE:
        raise _bad(cursor.source, f"{clip(name)} has {n_elements} elements")
    if (shape[-1] if shape else 1) % kind.block_elements:
        raise _bad(
            cursor.source,
            f"a row of {clip(name)} has {shape[-1] if shape else 1} elements; {kind.name} stores "
            f"{kind.block_elements} at a time",
        )
    n_bytes = n_elements // kind.block_elements * kind.block_bytes
    return offset, StoredTensor(name, kind.name, shape, n_bytes)


def _check_layout(cursor: _Cursor, placed: list[tuple[int, StoredTensor]], alignment: int) -> None:
    """Hold the offsets, and the size of the file, against the bytes that the types make."""
    source, at, end = cursor.source, 0, 0
    for offset, tensor in placed:
        if offset != at:
            raise _bad(source, f"the data of {clip(tensor.name)} begin at byte {offset}, not at {at}")
        end = at + tensor.n_bytes
        at = _padded(end, alignment)
    data_at = _padded(cursor.at, alignment)
    if source.size is None or not placed:
        return
    if source.size < data_at + end:
        raise ImportRejected(
            f"{clip(source.name)} is cut off: its tensors end at byte {data_at + end}, it has {source.size}",
            hint="download it again",
        )
    if source.size > data_at + at:
        raise _bad(source, f"{source.size - data_at - at} bytes belong to no tensor")


def _padded(n_bytes: int, alignment: int) -> int:
    return -(-n_bytes // alignment) * alignment


class _Cursor:
    """Reads a file from its front; keeps what it read, and asks for as much again when it runs out.

    Attributes:
        source: the file.
        order: byte order in the words of `struct`.
        at: how far we are, bytes.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.order = "<"
        self.at = 0
        self._held = bytearray()

    def reserve(self, n_bytes: int) -> None:
        """Check that the file can have `n_bytes` more, without reading them.

        Raises:
            ImportRejected: the file, or any sensible header, ends before.
        """
        end = self.at + n_bytes
        if self.source.size is not None and end > self.source.size:
            raise ImportRejected(
                f"{clip(self.source.name)} is cut off: its header would end at byte {end} or later, "
                f"it has {self.source.size}",
                hint="download it again",
            )
        if end > HEADER_LIMIT_BYTES:
            raise _bad(self.source, f"its header would have {end} bytes, of {HEADER_LIMIT_BYTES} allowed")

    def skip(self, n_bytes: int) -> int:
        """Step over bytes and return where they began."""
        begin = self.at
        end = begin + n_bytes
        if end > len(self._held):
            self._hold(end)
        self.at = end
        return begin

    def take(self, n_bytes: int) -> bytes:
        """Return the next bytes."""
        begin = self.skip(n_bytes)
        return bytes(self._held[begin : self.at])

    def unpack(self, letter: str) -> Any:
        """Return the next number, of a type in the words of `struct`."""
        form = self.order + letter
        begin = self.skip(struct.calcsize(form))
        return struct.unpack_from(form, self._held, begin)[0]

    def name(self, what: str) -> str:
        """Return the next string, which is to be a name.

        Raises:
            ImportRejected: too long, or not UTF-8.
        """
        n_bytes = self.unpack("Q")
        if n_bytes > _MAX_NAME_BYTES:
            raise _bad(self.source, f"the name of a {what} has {n_bytes} bytes")
        try:
            return self.take(n_bytes).decode()
        except UnicodeDecodeError as error:
            raise _bad(self.source, f"the name of a {what} is not UTF-8") from error

    def skip_strings(self, n: int) -> None:
        """Step over `n` strings: most of a header is the vocabulary, so this loop is kept bare."""
        self.reserve(n * 8)
        length = struct.Struct(f"{self.order}Q").unpack_from
        at, held, n_held = self.at, self._held, len(self._held)
        for _ in range(n):
            if at + 8 > n_held:
                self._hold(at + 8)
                n_held = len(held)
            at += 8 + length(held, at)[0]
        self.at = at
        self.skip(0)

    def _hold(self, end: int) -> None:
        """Read on until byte `end` is held: at least as much again as there is."""
        self.reserve(end - self.at)
        want = min(max(end, 2 * len(self._held), _FIRST_BYTES), max(end, HEADER_LIMIT_BYTES))
        self._held += self.source.read_at(len(self._held), want - len(self._held))
        if len(self._held) < end:
            raise ImportRejected(
                f"{clip(self.source.name)} is cut off at byte {len(self._held)}, inside its header",
                hint="download it again",
            )


def _unknown_type(source: Source, name: str, number: int) -> ImportRejected:
    if number in REMOVED:
        return ImportRejected(
            f"{clip(source.name)}: {clip(name)} is stored as {REMOVED[number]}, which ggml no longer has",
            hint="take or make a newer file, for example Q4_0",
        )
    return ImportRejected(
        f"{clip(source.name)}: {clip(name)} is stored as ggml type {number}, which we do not know",
        hint="a newer version of Rackrate may; types of forks of llama.cpp are not read",
    )


def _bad(source: Source, why: str) -> ImportRejected:
    return ImportRejected(f"{clip(source.name)} is not a sound GGUF file: {why}")
