"""GGUF files: every type by its exact bytes, both byte orders, split sets, and files that lie."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import pytest

from rackrate.checkpoint import StoredTensor, read
from rackrate.checkpoint.ggml_types import REMOVED, TYPES
from rackrate.checkpoint.gguf import LONGEST_LIST, LongArray
from rackrate.errors import DataError, ImportRejected

# what llama.cpp prints as bits per weight of its types, and ggml's block structs by hand
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I8": 8, "I16": 16, "I32": 32, "I64": 64,
    "Q4_0": 4.5, "Q4_1": 5.0, "Q5_0": 5.5, "Q5_1": 6.0, "Q8_0": 8.5, "Q8_1": 10.0,
    "Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "Q8_K": 9.125,
    "IQ1_S": 1.5625, "IQ1_M": 1.75, "IQ2_XXS": 2.0625, "IQ2_XS": 2.3125, "IQ2_S": 2.5625,
    "IQ3_XXS": 3.0625, "IQ3_S": 3.4375, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "TQ1_0": 1.6875,
    "TQ2_0": 2.0625, "MXFP4": 4.25, "NVFP4": 4.5, "Q1_0": 1.125,
}  # fmt: skip


def save(folder: Path, raw: bytes, name: str = "m.gguf") -> str:
    (folder / name).write_bytes(raw)
    return str(folder / name)


def refusal(folder: Path, raw: bytes) -> str:
    with pytest.raises(ImportRejected) as caught:
        read(save(folder, raw))
    assert len(caught.value.message) < 300
    return caught.value.message


def test_each_type_costs_the_bits_that_llama_cpp_states() -> None:
    assert {kind.name: kind.bits_per_element for kind in TYPES.values()} == BITS
    assert not TYPES.keys() & REMOVED.keys()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_every_type_in_either_byte_order(tmp_path: Path, make_gguf: Any, order: str, version: int) -> None:
    wanted = {f"blk.{name}": (name, [3, 512]) for name in BITS} | {"bias": ("F32", [7])}
    metadata = {"general.architecture": "llama", "x.f": 0.5, "x.b": True, "x.l": [1, 2], "x.s": ["a", "b"]}
    header = read(save(tmp_path, make_gguf(order, version)(metadata, wanted)))
    assert header.tensors == (
        *(StoredTensor(f"blk.{name}", name, (3, 512), int(bits * 192)) for name, bits in BITS.items()),
        StoredTensor("bias", "F32", (7,), 28),
    )
    assert header.config == metadata | {"x.s": LongArray(2)}
    assert (header.format, header.files, header.name) == ("gguf", ("m.gguf",), "m.gguf")


def test_a_file_is_known_by_its_bytes_whatever_its_name(tmp_path: Path, make_gguf: Any) -> None:
    raw = make_gguf()({}, {"a": ("F16", [4])})
    for name in ("sha256-6a0746a1ec1a", "model.bin"):
        assert read(save(tmp_path, raw, name)).n_bytes == 8


def test_the_vocabulary_is_stepped_over_and_counted(tmp_path: Path, make_gguf: Any) -> None:
    metadata = {
        "tokens": [f"token {number}" for number in range(20_000)],
        "types": [1] * (LONGEST_LIST + 1),
        "layers": [1] * LONGEST_LIST,
    }
    config = read(save(tmp_path, make_gguf()(metadata, {"a": ("F32", [1])}))).config
    assert (config["tokens"], config["types"]) == (LongArray(20_000), LongArray(LONGEST_LIST + 1))
    assert config["layers"] == [1] * LONGEST_LIST


def test_alignment_is_what_the_file_says(tmp_path: Path, make_gguf: Any) -> None:
    tensors = {"a": ("F32", [1]), "b": ("F32", [1])}
    raw = make_gguf(alignment=256)({"general.alignment": 256}, tensors)
    assert read(save(tmp_path, raw)).n_bytes == 8
    raw = make_gguf()({}, tensors)
    assert read(save(tmp_path, raw[:-28])).n_bytes == 8  # the last tensor need not be padded
    assert "begin at byte 32, not at 256" in refusal(
        tmp_path, make_gguf()({"general.alignment": 256}, tensors)
    )
    for wrong in (0, 3, "x"):
        assert "not a power of two" in refusal(tmp_path, make_gguf()({"general.alignment": wrong}, tensors))


def test_types_that_we_do_not_know_are_named(tmp_path: Path, make_gguf: Any) -> None:
    assert "a.weight is stored as ggml type 999, which we do not know" in refusal(
        tmp_path, make_gguf()({}, {"a.weight": (999, [32])})
    )
    assert "stored as Q4_0_4_4, which ggml no longer has" in refusal(
        tmp_path, make_gguf()({}, {"a.weight": (31, [32])})
    )


def test_the_data_must_be_what_the_header_says(tmp_path: Path, make_gguf: Any) -> None:
    tensors = {"a": ("Q8_0", [4, 32]), "b": ("F32", [5])}
    raw = make_gguf()({}, tensors)
    assert "cut off: its tensors end at byte" in refusal(tmp_path, raw[:-13])
    assert "32 bytes belong to no tensor" in refusal(tmp_path, raw + bytes(32))
    assert "the data of b begin at byte 192, not at 160" in refusal(
        tmp_path, make_gguf()({}, tensors, shift=32)
    )
    assert "the data of b begin at byte 128, not at 160" in refusal(
        tmp_path, make_gguf()({}, tensors, shift=-32)
    )
    assert "a row of a has 33 elements; Q8_0 stores 32 at a time" in refusal(
        tmp_path, make_gguf()({}, {"a": ("Q8_0", [2, 33])})
    )


def start(n_tensors: int = 0, n_entries: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_entries)


def entry(kind: int, rest: bytes) -> bytes:
    return start(0, 1) + struct.pack("<Q1sI", 1, b"k", kind) + rest


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"GGUF", "cut off"),
        (b"GGUF\x03\0\0\0", "cut off"),
        (start(version=1), "GGUF of version 1"),
        (start(version=4), "GGUF of version 4"),
        (start(version=0), "GGUF of version 0"),
        (start(2**63), "cut off"),
        (start(0, 2**63), "cut off"),
        (entry(8, struct.pack("<Q", 2**62)), "cut off"),
        (entry(13, b""), "of type 13, which there is not"),
        (entry(9, struct.pack("<IQ", 9, 1) + bytes(64)), "array k is of type 9"),
        (entry(9, struct.pack("<IQ", 8, 2**60)), "cut off"),
        (entry(9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2**60)), "cut off"),
        (entry(9, struct.pack("<IQ", 12, 2**60)), "cut off"),
        (start(0, 1) + struct.pack("<Q", 70_000) + bytes(99), "name of a key has 70000 bytes"),
        (start(0, 1) + struct.pack("<Q2sIB", 2, b"\xff\xff", 0, 1), "not UTF-8"),
        (start(0, 2) + 2 * struct.pack("<Q1sIB", 1, b"k", 0, 1), "key k stands there twice"),
        (start(1) + struct.pack("<Q1sI", 1, b"t", 9) + bytes(99), "t has 9 dimensions"),
        (start(1) + struct.pack("<Q1sIQQIQ", 1, b"t", 2, 2**40, 2**40, 0, 0) + bytes(99), "elements"),
        (start(1) + struct.pack("<Q1sIQIQ", 1, b"t", 1, 2**60, 0, 0), "cut off: its tensors end at"),
        (start(2) + 2 * struct.pack("<Q1sIQIQ", 1, b"t", 1, 0, 0, 0), "names a tensor twice"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(tmp_path: Path, raw: bytes, why: str) -> None:
    message = refusal(tmp_path, raw)
    assert why in message
    assert "m.gguf" in message


def parts(make_gguf: Any, said: int = 3, count: int = 2) -> list[bytes]:
    first = {
        "general.architecture": "llama",
        "split.no": 0,
        "split.count": count,
        "split.tensors.count": said,
    }
    later = {"split.no": 1, "split.count": count, "split.tensors.count": said}
    return [
        make_gguf()(first, {"a": ("F32", [4]), "b": ("Q4_0", [32])}),
        make_gguf()(later, {"c": ("F16", [8])}),
    ]


ONE, TWO = "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"


@pytest.mark.parametrize("what", [ONE, TWO, ""])
def test_any_part_of_a_split_set_stands_for_the_set(tmp_path: Path, make_gguf: Any, what: str) -> None:
    for name, raw in zip((ONE, TWO), parts(make_gguf), strict=True):
        save(tmp_path, raw, name)
    header = read(str(tmp_path / what))
    assert [(tensor.name, tensor.n_bytes) for tensor in header.tensors] == [("a", 16), ("b", 18), ("c", 16)]
    assert header.files == (ONE, TWO)
    assert header.config["general.architecture"] == "llama"


def test_split_sets_that_do_not_hold_together(tmp_path: Path, make_gguf: Any) -> None:
    first, _ = parts(make_gguf)
    save(tmp_path, first, ONE)
    with pytest.raises(DataError, match=f"has no {TWO}"):
        read(str(tmp_path / ONE))
    save(tmp_path, first, TWO)
    with pytest.raises(ImportRejected, match="is not file 2 of 2"):
        read(str(tmp_path / ONE))
    save(tmp_path, first, "m.gguf")
    with pytest.raises(ImportRejected, match="is one of 2 files, which its name does not say"):
        read(str(tmp_path / "m.gguf"))
    for name, raw in zip((ONE, TWO), parts(make_gguf, said=4), strict=True):
        save(tmp_path, raw, name)
    with pytest.raises(ImportRejected, match="hold 3 tensors, not the 4"):
        read(str(tmp_path / ONE))


def test_a_file_that_only_looks_like_a_part_is_read_alone(tmp_path: Path, make_gguf: Any) -> None:
    assert read(save(tmp_path, make_gguf()({}, {"a": ("F32", [4])}), ONE)).files == (ONE,)


def test_a_vocabulary_of_a_quarter_million_takes_a_moment(tmp_path: Path, make_gguf: Any) -> None:
    raw = make_gguf()({"tokens": ["abcdef"] * 262_144, "merges": ["ab cd"] * 262_144}, {"a": ("F32", [1])})
    path = save(tmp_path, raw)
    began = time.process_time()
    read(path)
    assert time.process_time() - began < 1  # 0.06 s on a quiet machine
