"""One .safetensors file: what is read is what lies there, and what is wrong is refused by name."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rackrate.checkpoint import StoredTensor, read
from rackrate.checkpoint.safetensors import BITS
from rackrate.errors import DataError, ImportRejected

Make = Callable[..., bytes]


def wrap(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(begin: int, end: int, shape: Any = (1,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refusal(tmp_path: Path, raw: bytes, name: str = "m.safetensors") -> str:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(ImportRejected) as caught:
        read(str(tmp_path / name))
    return caught.value.message


def test_every_type_has_the_bytes_that_its_bits_make(tmp_path: Path, make_safetensors: Make) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(make_safetensors({name: (name, [4, 8]) for name in BITS}))
    header = read(str(file))
    assert {tensor.dtype: tensor.n_bytes for tensor in header.tensors} == {
        name: bits * 4 for name, bits in BITS.items()
    }
    assert header.n_bytes == sum(BITS.values()) * 4 == sum(header.bytes_by_dtype().values())
    assert header.n_elements == 32 * len(BITS)
    assert (header.name, header.format, header.files, header.config) == (
        "m.safetensors",
        "safetensors",
        ("m.safetensors",),
        {},
    )


def test_tensors_come_in_the_order_of_their_data_with_scalars_and_empty_ones(tmp_path: Path) -> None:
    header = {"b": entry(4, 12, [2, 1]), "a": entry(0, 4, []), "none": entry(4, 4, [0, 7])}
    (tmp_path / "m.safetensors").write_bytes(wrap(header, bytes(12)))
    assert read(str(tmp_path / "m.safetensors")).tensors == (
        StoredTensor("a", "F32", (), 4),
        StoredTensor("none", "F32", (0, 7), 0),
        StoredTensor("b", "F32", (2, 1), 8),
    )


def test_a_type_newer_than_ours_has_the_bytes_of_its_offsets(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(wrap({"a": entry(0, 5, [3], "F13")}, bytes(5)))
    assert read(str(tmp_path / "m.safetensors")).tensors == (StoredTensor("a", "F13", (3,), 5),)


@pytest.mark.parametrize("length", [60, 640, 896, 1152, 0x4B50])
def test_a_length_that_looks_like_the_start_of_something_else_is_a_length(
    tmp_path: Path, make_safetensors: Make, length: int
) -> None:
    """60 is `<` and zeros, 640 and 896 begin like pickles, 0x4B50 like a zip archive."""
    raw = wrap(b"{}".ljust(length)) if length == 60 else make_safetensors({"a": ("F32", [2])}, pad=length)
    (tmp_path / "m.safetensors").write_bytes(raw)
    assert read(str(tmp_path / "m.safetensors")).n_bytes == (0 if length == 60 else 8)


def test_the_config_beside_a_file_is_its_config(tmp_path: Path, make_safetensors: Make) -> None:
    (tmp_path / "m.safetensors").write_bytes(make_safetensors({"a": ("BF16", [2, 2])}))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert read(str(tmp_path / "m.safetensors")).config == {"model_type": "llama"}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ImportRejected, match=r"config\.json is not JSON"):
        read(str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "cut off"),
        (b"1234567", "cut off"),
        (struct.pack("<Q", 50) + b"{}", "cut off"),
        (struct.pack("<Q", 2**63) + b"{}", "header would have"),
        (struct.pack("<Q", 0), "header would have"),
        (wrap(b"{]"), "is not JSON"),
        (wrap(b"\xff\xfe"), "is not JSON"),
        (wrap(b"[" * 100_000), "is not JSON"),
        (wrap(b"[]"), "not a dict"),
        (wrap({"a": 1}), "lacks dtype"),
        (wrap({"a": {"dtype": "F32", "shape": [1]}}), "lacks dtype"),
        (wrap({"a": entry(0, 4, dtype=32)}, bytes(4)), "a dtype that is not a name"),
        (wrap({"a": entry(0, 4, shape=[-1])}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(0, 4, shape=[True])}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(0, 4, shape=[2.0])}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(0, 4, shape="1")}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(0, 4, shape=[2**40, 2**40])}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(0, 4, shape=[1] * 100)}, bytes(4)), "a shape that is not a list of sizes"),
        (wrap({"a": entry(4, 0)}, bytes(4)), "not a begin and an end"),
        (
            wrap({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}),
            "not a begin and an end",
        ),
        (wrap({"a": entry(0, 8)}, bytes(8)), "cannot have"),
        (wrap({"a": entry(0, 1, [3], "F4")}, bytes(1)), "cannot have"),
        (wrap({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)), "overlap"),
        (wrap({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)), "overlap"),
        (wrap({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "hole"),
        (wrap({"a": entry(4, 8)}, bytes(8)), "hole"),
        (wrap({"a": entry(0, 4)}, bytes(3)), "cut off"),
        (wrap({"a": entry(0, 4)}, bytes(5)), "belong to no tensor"),
        (
            wrap(b'{"\\ud800": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}', b"1"),
            "name that is not text",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n<html>\n<head>", "web page"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(tmp_path: Path, raw: bytes, why: str) -> None:
    message = refusal(tmp_path, raw)
    assert why in message
    assert "m.safetensors" in message
    assert len(message) < 250


@pytest.mark.parametrize("name", ["pytorch_model.bin", "m.pt", "m.pth", "m.ckpt", "m.pkl"])
def test_pickles_are_refused_by_their_name(tmp_path: Path, name: str) -> None:
    assert "is a pickle" in refusal(tmp_path, b"whatever it holds", name)


@pytest.mark.parametrize("magic", [b"PK\x03\x04\x00\x00\x08\x08", b"\x80\x02}q\x00(X\x05"])
def test_pickles_are_refused_by_their_bytes(tmp_path: Path, magic: bytes) -> None:
    assert "is a pickle" in refusal(tmp_path, magic + bytes(100))


def test_what_is_not_there_and_what_is_no_file_are_said_so(tmp_path: Path) -> None:
    for path in ("none.safetensors", "x\0y", "m" * 5000):
        with pytest.raises(DataError) as caught:
            read(str(tmp_path / path))
        assert caught.value.code == "file"
        assert len(caught.value.message) < 250
    with pytest.raises(DataError, match="not a regular file"):
        read("/dev/zero")
    with pytest.raises(DataError) as caught:
        read("meta-llama/Llama-3.1-8B")
    assert "hub.read" in caught.value.hint


def test_a_file_that_nobody_may_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.safetensors").write_bytes(wrap({}))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"m\.safetensors cannot be read: Permission denied"):
        read(str(tmp_path / "m.safetensors"))


def test_the_data_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_safetensors: Make
) -> None:
    raw = make_safetensors({"a": ("F32", [1000, 1000])})
    (tmp_path / "m.safetensors").write_bytes(raw)
    furthest = []
    from rackrate.checkpoint.source import LocalFile  # noqa: PLC0415 - what is watched here

    original = LocalFile.read_at

    def watched(self: LocalFile, offset: int, n_bytes: int) -> bytes:
        furthest.append(offset + n_bytes)
        return original(self, offset, n_bytes)

    monkeypatch.setattr(LocalFile, "read_at", watched)
    read(str(tmp_path / "m.safetensors"))
    assert max(furthest) == len(raw) - 4_000_000
