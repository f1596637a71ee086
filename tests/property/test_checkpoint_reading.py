"""Whatever bytes lie there: a header, or one of our errors; never another, and never much memory."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.checkpoint import Header, StoredTensor, hf_config
from rackrate.checkpoint.ggml_types import TYPES
from rackrate.checkpoint.gguf import read_file
from rackrate.checkpoint.gguf_config import MODEL_TYPES, NAMES
from rackrate.checkpoint.layout import read_folder
from rackrate.checkpoint.safetensors import BITS, read_tensors
from rackrate.errors import RackrateError

MIB = 2**20


class Bytes:
    """A source of bytes in memory that counts what it is asked for."""

    def __init__(self, raw: bytes, *, is_sized: bool = True) -> None:
        self.name, self.raw = "m", raw
        self.size = len(raw) if is_sized else None

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        assert 0 <= offset <= 300 * MIB
        assert 0 <= n_bytes <= 300 * MIB
        return self.raw[offset : offset + n_bytes]


class Files:
    """A folder in memory."""

    name, is_remote = "folder", False

    def __init__(self, files: dict[str, bytes], *, is_listed: bool) -> None:
        self.content = files
        self.files = tuple(sorted(files)) if is_listed else None

    def open(self, path: str) -> Bytes | None:
        return Bytes(self.content[path]) if path in self.content else None

    def read_text(self, path: str) -> bytes | None:
        return self.content.get(path)


def reads_or_refuses(read: Any, raw: bytes, *, is_sized: bool) -> Any:
    """Return what was read, or None where it was refused; anything else fails the test."""
    tracemalloc.start()
    found = attempt(lambda: read(Bytes(raw, is_sized=is_sized)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB + 60 * len(raw)
    if isinstance(found, RackrateError):
        assert found.code == "import-rejected"
        return None
    return found


def attempt(read: Callable[[], Any]) -> Any:
    """Return what was read, or our error, which is fit to be shown."""
    try:
        return read()
    except RackrateError as error:
        message = error.message
        if message.isprintable() and len(message) < 400:
            return error
        raise


def safetensors(shapes: list[tuple[str, list[int]]]) -> bytes:
    header, at = {}, 0
    for number, (dtype, shape) in enumerate(shapes):
        n_elements = 1
        for size in shape:
            n_elements *= size
        n_bytes = BITS[dtype] * n_elements // 8
        header[f"layer.{number}"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(at)


def gguf(order: str, entries: list[tuple[str, int]], tensors: list[tuple[int, int, int]]) -> bytes:
    raw = b"GGUF" + struct.pack(f"{order}IQQ", 3, len(tensors), len(entries) + 1)
    for number, (key, value) in enumerate(entries):
        name = f"{number}{key}".encode()
        raw += struct.pack(f"{order}Q", len(name)) + name + struct.pack(f"{order}II", 4, value)
    raw += struct.pack(f"{order}Q1sIIQ", 1, b"v", 9, 8, 2) + 2 * struct.pack(f"{order}Q3s", 3, b"abc")
    at = 0
    for number, (kind, rows, blocks) in enumerate(tensors):
        name, cols = str(number).encode(), blocks * TYPES[kind].block_elements
        raw += struct.pack(f"{order}Q", len(name)) + name
        raw += struct.pack(f"{order}IQQIQ", 2, cols, rows, kind, at)
        at += -(-rows * blocks * TYPES[kind].block_bytes // 32) * 32
    return raw + bytes(-len(raw) % 32) + bytes(at)


small = st.integers(0, 9)
stored = st.lists(
    st.tuples(st.sampled_from(sorted(BITS)), st.tuples(small, st.just(8)).map(list)), max_size=5
)
sound_safetensors = stored.map(safetensors)
sound_gguf = st.builds(
    gguf,
    st.sampled_from(["<", ">"]),
    st.lists(st.tuples(st.text(max_size=5), st.integers(0, 2**32 - 1)), max_size=4),
    st.lists(st.tuples(st.sampled_from(sorted(TYPES)), small, st.integers(1, 3)), max_size=5),
)


@st.composite
def broken(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Return a sound file with some bytes changed, cut out or put in, mostly near its beginning."""
    raw = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(raw), 400)))
        patch = draw(
            st.binary(max_size=3) | st.sampled_from([bytes(8), b"\xff" * 8, struct.pack("<Q", 2**40)])
        )
        raw[at : at + draw(st.integers(0, 8))] = patch
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)


@given(stored)
def test_safetensors_read_back_as_they_were_written(shapes: list[tuple[str, list[int]]]) -> None:
    found = read_tensors(Bytes(safetensors(shapes)))
    assert sorted((t.dtype, list(t.shape)) for t in found) == sorted(shapes)
    assert all(8 * t.n_bytes == BITS[t.dtype] * t.n_elements for t in found)


@given(sound_gguf)
def test_gguf_reads_back_as_it_was_written(raw: bytes) -> None:
    found = read_file(Bytes(raw))
    assert all(t.n_bytes == t.n_elements * k.block_bytes // k.block_elements
               for t in found.tensors for k in TYPES.values() if k.name == t.dtype)  # fmt: skip
    assert sum(-(-t.n_bytes // 32) * 32 for t in found.tensors) <= len(raw)


@settings(max_examples=300)
@given(
    st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"GGUF\3\0\0\0" + rest), st.booleans()
)
def test_any_bytes_are_read_or_refused(raw: bytes, is_sized: bool) -> None:  # noqa: FBT001 - drawn
    for read in (read_tensors, read_file):
        reads_or_refuses(read, raw, is_sized=is_sized)


@settings(max_examples=400)
@given(broken(sound_safetensors), st.booleans())
def test_any_damage_to_safetensors_is_read_or_refused(raw: bytes, is_sized: bool) -> None:  # noqa: FBT001 - drawn
    found = reads_or_refuses(read_tensors, raw, is_sized=is_sized)
    if found and is_sized:
        assert sum(tensor.n_bytes for tensor in found) < len(raw)


@settings(max_examples=400)
@given(broken(sound_gguf), st.booleans())
def test_any_damage_to_gguf_is_read_or_refused(raw: bytes, is_sized: bool) -> None:  # noqa: FBT001 - drawn
    found = reads_or_refuses(read_file, raw, is_sized=is_sized)
    if found and is_sized:
        assert sum(tensor.n_bytes for tensor in found.tensors) < len(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "F4", "Q9"]) | json_values, "shape": st.lists(small) | json_values,
     "data_offsets": st.lists(small, min_size=2, max_size=2) | json_values}
)  # fmt: skip


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=5), entries | json_values, max_size=4), st.binary(max_size=9))
def test_any_json_as_a_header_is_read_or_refused(header: dict[str, Any], data: bytes) -> None:
    raw = json.dumps(header).encode()
    reads_or_refuses(read_tensors, struct.pack("<Q", len(raw)) + raw + data, is_sized=True)


names = st.sampled_from(
    ["model_index.json", "modules.json", "config.json", "model.safetensors", "model.safetensors.index.json",
     "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "vae/config.json", "vae/model.safetensors",
     "vae/model.safetensors.index.json", "pytorch_model.bin", "x-00001-of-00002.safetensors"]
)  # fmt: skip
indexes = st.dictionaries(
    st.sampled_from(["weight_map", "vae", "metadata"]),
    json_values
    | st.just(["diffusers", "V"])
    | st.dictionaries(st.sampled_from(["a", "layer.0"]), names | st.text(max_size=9), max_size=2),
)
modules = st.lists(
    st.dictionaries(st.sampled_from(["path", "type"]), st.just("vae") | json_values), max_size=3
)
contents = (
    (json_values | indexes | modules).map(lambda value: json.dumps(value).encode())
    | sound_safetensors
    | sound_gguf
    | st.binary(max_size=20)
)


@settings(max_examples=400)
@given(st.dictionaries(names, contents, max_size=6), st.booleans())
def test_any_folder_is_read_or_refused(files: dict[str, bytes], is_listed: bool) -> None:  # noqa: FBT001 - drawn
    found = attempt(lambda: read_folder(Files(files, is_listed=is_listed)))
    if isinstance(found, RackrateError):
        assert found.code in ("import-rejected", "file")
    else:
        assert set(found.files) <= files.keys()


numbers = st.integers(-5, 2**64) | st.floats() | st.booleans() | st.text(max_size=5)
values = numbers | st.lists(st.integers(-5, 99) | st.booleans() | st.floats(), max_size=4)
keys = st.text(max_size=9) | st.sampled_from(
    [*NAMES, "block_count", "rope.dimension_count", "attention.sliding_window_pattern", "model_type",
     "attention.key_length_mla", "ssm.time_step_rank", "ssm.inner_size", "attention.recurrent_layers",
     "rope.scaling.type", "layer_types"]
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.sampled_from([*MODEL_TYPES, "llama", "gemma2", "bert"]),
    st.dictionaries(keys, values, max_size=12),
    st.lists(st.integers(0, 9), max_size=3),
)
def test_any_metadata_become_a_config(arch: str, metadata: dict[str, Any], shape: list[int]) -> None:
    own = {f"{arch}.{key}": value for key, value in metadata.items()}
    shapes = [
        StoredTensor(name, "F16", tuple(shape), 0) for name in ("token_embd.weight", "token_types.weight")
    ]
    header = Header("m", tuple(shapes), {"general.architecture": arch, **own}, (), "gguf")
    assert isinstance(hf_config(header)["model_type"], str)
