"""Folders: shards, pipelines, sentence-transformers, split sets; and indexes that lead astray."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rackrate.checkpoint import StoredTensor, read
from rackrate.errors import DataError, ImportRejected

Make = Callable[..., bytes]
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, make_safetensors: Make) -> Write:
    """Return a function that writes files: of tensors where a mapping says so, of JSON, of bytes."""

    def written(files: Mapping[str, Any]) -> None:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".safetensors") and isinstance(content, dict):
                path.write_bytes(make_safetensors(content))
            else:
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return written


A, B = {"a": ("BF16", [2, 3])}, {"b": ("F32", [4])}
INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def index(**weights: Any) -> dict[str, Any]:
    return {"metadata": {"total_size": 1}, "weight_map": weights}


def test_a_folder_with_one_file(tmp_path: Path, write: Write) -> None:
    write({"model.safetensors": A, "config.json": {"model_type": "llama"}, "tokenizer.json": {}})
    header = read(str(tmp_path))
    assert header.tensors == (StoredTensor("a", "BF16", (2, 3), 12),)
    assert (header.config, header.files, header.name) == (
        {"model_type": "llama"},
        ("model.safetensors",),
        tmp_path.name,
    )


@pytest.mark.parametrize("what", ["", INDEX, ONE, TWO])
def test_shards_are_one_model_by_folder_index_or_any_of_them(tmp_path: Path, write: Write, what: str) -> None:
    write({ONE: A, TWO: B, INDEX: index(a=ONE, b=TWO), "config.json": {"x": 1}})
    header = read(str(tmp_path / what))
    assert [tensor.name for tensor in header.tensors] == ["a", "b"]
    assert (header.n_bytes, header.files, header.config) == (28, (ONE, TWO), {"x": 1})


def test_shards_without_an_index_are_held_together_by_their_names(tmp_path: Path, write: Write) -> None:
    write({ONE: A, TWO: B})
    assert read(str(tmp_path)).n_bytes == 28
    (tmp_path / TWO).unlink()
    with pytest.raises(DataError, match=f"has no {TWO}"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({INDEX: index(a=ONE, b=TWO), ONE: A}, f"has no {TWO}"),
        ({INDEX: index(a=ONE, c=ONE), ONE: A}, "holds 'c', which it does not"),
        ({INDEX: index(a=TWO, b=ONE), ONE: A, TWO: B}, "which it does not"),
        ({INDEX: index(a=ONE, b=TWO), ONE: A, TWO: A | B}, "'a' lies in"),
        ({INDEX: {"weight_map": []}}, "no weight_map"),
        ({INDEX: {}}, "no weight_map"),
        ({INDEX: b"[]"}, "not a dict"),
        ({INDEX: index(a="x.bin")}, "is a pickle"),
        ({INDEX: index(a="config.json")}, "not a .safetensors file"),
        ({"config.json": {}, "pytorch_model.bin": b"1"}, "is a pickle"),
        ({"pytorch_model-00001-of-00002.bin": b"1"}, "is a pickle"),
        ({"config.json": {}}, "holds no weights"),
        ({"x.safetensors": A, "y.safetensors": B}, "holds 2 models: x.safetensors, y.safetensors"),
        ({"modules.json": {}}, "not a list"),
        ({"model_index.json": {"unet": ["diffusers", "X"]}}, "holds no weights"),
    ],
)
def test_folders_that_cannot_be_taken(tmp_path: Path, write: Write, files: dict[str, Any], why: str) -> None:
    write(files)
    with pytest.raises(DataError) as caught:
        read(str(tmp_path))
    assert why in caught.value.message


@pytest.mark.parametrize(
    "path",
    ["../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "a\\x.safetensors", "c:x.safetensors",
     "", ".", "a//x.safetensors", "x\n.safetensors", 7, None, ["x"], {}],
)  # fmt: skip
def test_an_index_leads_nowhere_else(tmp_path: Path, write: Write, make_safetensors: Make, path: Any) -> None:
    (tmp_path.parent / "x.safetensors").write_bytes(make_safetensors(A))
    write({INDEX: index(a=path)})
    with pytest.raises(ImportRejected, match="does not lie in its folder"):
        read(str(tmp_path))
    (tmp_path / INDEX).unlink()
    if isinstance(path, str) and path:
        write({"modules.json": [{"path": path, "type": "Dense"}]})
        with pytest.raises(ImportRejected, match="does not lie in its folder"):
            read(str(tmp_path))
        write({"model_index.json": {path: ["diffusers", "Unet"]}})
        with pytest.raises(ImportRejected, match="does not lie in its folder"):
            read(str(tmp_path))


def test_a_pipeline_is_the_models_in_its_folders(tmp_path: Path, write: Write) -> None:
    made = "diffusion_pytorch_model"
    listing = {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "Euler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
    }
    write({
        "model_index.json": listing,
        "flux1-dev.safetensors": A | B,  # the same weights once more, for other programs
        f"transformer/{made}.safetensors.index.json": index(a=f"{made}-00001-of-00001.safetensors"),
        f"transformer/{made}-00001-of-00001.safetensors": A,
        "transformer/config.json": {"num_layers": 19},
        "text_encoder/model.safetensors": A,
        "text_encoder/model.fp16.safetensors": A | B,
        "text_encoder/config.json": {"hidden_size": 768},
        f"vae/{made}.fp16.safetensors": B,
        "vae/config.json": {},
        "scheduler/scheduler_config.json": {},
        "tokenizer/vocab.json": {},
    })  # fmt: skip
    header = read(str(tmp_path))
    assert header.bytes_by_component() == {"vae": 16, "transformer": 12, "text_encoder": 12}
    assert [(tensor.component, tensor.name) for tensor in header.tensors] == [
        ("transformer", "a"),
        ("text_encoder", "a"),
        ("vae", "b"),
    ]
    assert header.config == listing
    assert header.component_configs["transformer"] == {"num_layers": 19}
    assert header.files[0] == f"transformer/{made}-00001-of-00001.safetensors"
    (tmp_path / f"vae/{made}.fp16.safetensors").unlink()
    with pytest.raises(DataError, match="/vae holds no weights"):
        read(str(tmp_path))
    write({f"vae/{made}.bin": b"1"})
    with pytest.raises(ImportRejected, match=r"vae/diffusion_pytorch_model\.bin is a pickle"):
        read(str(tmp_path))


def test_a_sentence_transformer_is_its_transformer_and_its_dense_layers(tmp_path: Path, write: Write) -> None:
    write({
        "modules.json": [
            {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        ],
        "config.json": {"model_type": "bert"},
        "model.safetensors": A,
        "pytorch_model.bin": b"the same once more",
        "1_Pooling/config.json": {},
        "2_Dense/model.safetensors": B,
    })  # fmt: skip
    header = read(str(tmp_path))
    assert header.bytes_by_component() == {"2_Dense": 16, "": 12}
    assert header.config == {"model_type": "bert"}


def test_the_older_layout_has_the_transformer_in_a_folder(tmp_path: Path, write: Write) -> None:
    write({
        "modules.json": [{"idx": 0, "path": "0_Transformer"}],
        "0_Transformer/model.safetensors": A,
        "0_Transformer/config.json": {"model_type": "bert"},
    })  # fmt: skip
    header = read(str(tmp_path))
    assert (header.bytes_by_component(), header.config) == ({"0_Transformer": 12}, {"model_type": "bert"})


def test_a_folder_with_one_gguf_model_is_that_model(tmp_path: Path, make_gguf: Any) -> None:
    raw = make_gguf()({"general.architecture": "llama"}, {"a": ("Q8_0", [2, 32])})
    (tmp_path / "m-Q8_0.gguf").write_bytes(raw)
    (tmp_path / "imatrix.pt").write_bytes(b"")
    assert read(str(tmp_path)).n_bytes == 68
    (tmp_path / "mmproj.gguf").write_bytes(raw)
    with pytest.raises(ImportRejected, match=r"holds 2 GGUF models: m-Q8_0\.gguf, mmproj\.gguf"):
        read(str(tmp_path))


def test_links_into_a_cache_are_followed(tmp_path: Path, make_safetensors: Make) -> None:
    """The hub's own cache keeps blobs in one folder and links to them from another."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "0123").write_bytes(make_safetensors(A))
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(Path("../blobs/0123"))
    assert read(str(tmp_path / "snapshot")).n_bytes == 12


def test_seven_hundred_tensors_in_thirty_shards_take_milliseconds(tmp_path: Path, write: Write) -> None:
    shards = [f"model-{number:05}-of-00030.safetensors" for number in range(1, 31)]
    names = [f"model.layers.{number // 9}.part_{number % 9}.weight" for number in range(720)]
    where = {name: shards[number * 30 // 720] for number, name in enumerate(names)}
    write({INDEX: index(**where)})
    for shard in shards:
        write({shard: {name: ("BF16", [8, 2]) for name in names if where[name] == shard}})
    began = time.process_time()
    assert len(read(str(tmp_path)).tensors) == 720
    assert time.process_time() - began < 0.25  # 5 ms on a quiet machine; of the processor, whoever else runs
