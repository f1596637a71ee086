"""What a .safetensors file holds: eight bytes of length, a header in JSON, then the data, unread.

Bytes come from the offsets, and must agree with type and shape. The header must account for every
byte of the data, as the format demands: no overlap, no hole, nothing after the last tensor.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from rackrate.checkpoint.header import StoredTensor
from rackrate.checkpoint.source import Source, clip, exactly, parse_json
from rackrate.errors import ImportRejected

HEADER_LIMIT_BYTES = 100_000_000
"""The format's own bound (safetensors 0.8.0 refuses more)."""

BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of an element of each type that safetensors 0.8.0 knows."""

_LENGTH = struct.Struct("<Q")
_PARTS = {"dtype", "shape", "data_offsets"}
_MAX_DIMS = 64  # what numpy allows; a shape of a million dimensions is an attack
_MAX_SIZE = 2**63


def read_tensors(source: Source, component: str = "") -> tuple[StoredTensor, ...]:
    """Return the tensors of a file, in the order of their data.

    Args:
        source: the file; of it, the first eight bytes and the header are read.
        component: sub-folder of a pipeline that it belongs to.

    Raises:
        ImportRejected: not a safetensors file, cut off, or contradicting itself.
    """
    head = exactly(source, 0, _LENGTH.size, "header length")
    _recognise(source, head)
    (length,) = _LENGTH.unpack(head)
    if not 2 <= length <= HEADER_LIMIT_BYTES:  # noqa: PLR2004 - `{}`
        raise _bad(source, f"its header would have {length} bytes, of {HEADER_LIMIT_BYTES} allowed")
    raw = exactly(source, _LENGTH.size, length, "header")
    entries = parse_json(raw, f"the header of {clip(source.name)}")
    placed = [
        _tensor(source, name, entry, component) for name, entry in entries.items() if name != "__metadata__"
    ]
    placed.sort(key=lambda item: (item[0], item[0] + item[1].n_bytes))
    at = 0
    for begin, tensor in placed:
        if begin != at:
            what = "overlap with the one before" if begin < at else "leave a hole before them"
            raise _bad(source, f"the bytes of {clip(repr(tensor.name))} {what}")
        at += tensor.n_bytes
    _check_size(source, _LENGTH.size + length + at)
    return tuple(tensor for _, tensor in placed)


def _tensor(source: Source, name: str, entry: Any, component: str) -> tuple[int, StoredTensor]:
    """Return where the data of a tensor begin, and the tensor."""
    if not isinstance(entry, dict) or not entry.keys() >= _PARTS:
        raise _wrong(source, name, "lacks dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not dtype.isascii() or not dtype.isprintable():
        raise _wrong(source, name, "has a dtype that is not a name")
    if not _are_counts(shape) or len(shape) > _MAX_DIMS or math.prod(shape) >= _MAX_SIZE:
        raise _wrong(source, name, "has a shape that is not a list of sizes")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - a pair
        raise _wrong(source, name, "has data_offsets that are not a begin and an end")
    begin, end = offsets
    # a type newer than this table is taken: its bytes are known from the offsets all the same
    if dtype in BITS and BITS[dtype] * math.prod(shape) != 8 * (end - begin):
        raise _wrong(source, name, f"has {end - begin} bytes, which {dtype} {shape} cannot have")
    if not _is_text(name):
        raise _wrong(source, name, "has a name that is not text")
    return begin, StoredTensor(name, dtype, tuple(shape), end - begin, component)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < _MAX_SIZE for item in value)


def _is_text(name: str) -> bool:
    """Tell whether a name can be written: JSON may hold half of a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_size(source: Source, expected_bytes: int) -> None:
    """Hold the size of the file against what its header accounts for."""
    if source.size is None or source.size == expected_bytes:
        return
    if source.size < expected_bytes:
        raise ImportRejected(
            f"{clip(source.name)} is cut off: its header accounts for {expected_bytes} bytes, "
            f"it has {source.size}",
            hint="download it again",
        )
    raise _bad(source, f"{source.size - expected_bytes} bytes belong to no tensor")


def _wrong(source: Source, name: str, why: str) -> ImportRejected:
    return _bad(source, f"{clip(repr(name))} {why}")


def _recognise(source: Source, head: bytes) -> None:
    """Refuse by name what is most often taken for a file of weights."""
    if head == b"version ":
        raise ImportRejected(
            f"{clip(source.name)} is a pointer of git-lfs, not the file itself", hint="run git lfs pull"
        )
    # 60, a header's length, is `<` and zeros
    if head.lstrip()[:1] == b"<" and any(head[4:]):
        raise ImportRejected(
            f"{clip(source.name)} is a web page, not the file itself",
            hint="take the address of the download; on a hub it has /resolve/, not /blob/",
        )


def _bad(source: Source, why: str) -> ImportRejected:
    return ImportRejected(f"{clip(source.name)} is not a sound safetensors file: {why}")
