"""Which files of a folder hold its model's weights, and what stands in all of them together.

One model in the folder itself; a diffusion pipeline (model_index.json) with a model in each
sub-folder; a sentence-transformers model (modules.json) with the transformer in the folder and dense
layers in sub-folders. Weights are one file, or shards that an index or their names hold together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rackrate.checkpoint import gguf, safetensors
from rackrate.checkpoint.header import Header, StoredTensor
from rackrate.checkpoint.source import Absent, Place, Source, clip, inside, parse_json
from rackrate.errors import DataError, ImportRejected

INDEX = ".safetensors.index.json"
STEMS = ("model", "diffusion_pytorch_model", "consolidated", "adapter_model")
"""What weights are called, the likeliest first."""

VARIANTS = ("fp16", "bf16")
"""Copies in another precision beside, or instead of, the default one."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.safetensors|\.gguf)")
_WEIGHTLESS = (".Pooling", ".Normalize", ".Dropout")  # modules of sentence-transformers
_AT_ONCE = 8  # journeys at a time
_MAX_FILES = 5000  # DeepSeek V3 has 163


@dataclass(frozen=True)
class _Weights:
    """The files of one folder, and the tensors that its index promises in each."""

    paths: tuple[str, ...]
    promised: Mapping[str, str]


def read_folder(place: Place) -> Header:
    """Return what a folder's files hold.

    Raises:
        DataError: `file`, it holds no weights.
        ImportRejected: a file of it is broken or of a kind that we do not read.
    """
    index = _json(place, "model_index.json")
    if index is not None:
        return _read_pipeline(place, index)
    parts = [""]
    if (modules := _modules(place)) is not None:
        parts = list(dict.fromkeys(["", *modules]))
    found = {part: _find(place, part) for part in parts}
    if not any(found.values()):
        return _read_gguf_folder(place)
    config = next((c for part in parts if (c := _json(place, _join(part, "config.json")))), {})
    return _read_weights(place, found, config, place.name)


def read_file(place: Place, path: str) -> Header:
    """Return what one file holds; one part of a split set stands for the whole set.

    Raises:
        Absent: there is no such file.
        ImportRejected: it, or a part of its set, is broken or of a kind that we do not read.
    """
    folder, _, name = path.rpartition("/")
    if name.endswith(INDEX):
        weights = _from_index(place, path)
        if weights is None:
            raise _absent(place, path)
    else:
        first = _open(place, path)
        if first.read_at(0, len(gguf.MAGIC)) == gguf.MAGIC:
            return _read_gguf(place, path, first, name)
        refuse_pickle(path, first)
        weights = _Weights(tuple(_parts(path)), {})
    return _read_weights(place, {"": weights}, _json(place, _join(folder, "config.json")) or {}, name)


def refuse_pickle(path: str, source: Source) -> None:
    """Refuse a file that is, or looks like, a pickle.

    Raises:
        ImportRejected: it is one.
    """
    head = source.read_at(0, 8)
    # the length of a small safetensors header may begin like a pickle, but ends in zeros
    if path.endswith(PICKLES) or (head.startswith(_PICKLE_MAGIC) and any(head[4:])):
        raise _pickle(path)


def _read_pipeline(place: Place, index: Mapping[str, Any]) -> Header:
    found: dict[str, _Weights | None] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    for component, made in index.items():
        if not (isinstance(made, list) and len(made) == 2 and all(isinstance(x, str) for x in made)):  # noqa: PLR2004 - library and class
            continue
        inside(component, f"{place.name}/model_index.json")
        config = _json(place, f"{component}/config.json")
        if config is None and place.files is None:
            continue  # tokenizers and schedulers have configs of other names
        found[component] = _find(place, component)
        if config is not None:
            configs[component] = config
            if found[component] is None:  # what has a config.json is a model
                raise _no_weights(place, component)
    if not any(found.values()):
        raise _no_weights(place, "")
    return replace(_read_weights(place, found, index, place.name), component_configs=configs)


def _modules(place: Place) -> list[str] | None:
    """Return the sub-folders of a sentence-transformers model that may hold weights."""
    text = None if _lacks(place, "modules.json") else place.read_text("modules.json")
    if text is None:
        return None
    name = f"{place.name}/modules.json"
    modules = [module for module in parse_json(text, name, list) if isinstance(module, dict)]
    paths = [m.get("path") for m in modules if not str(m.get("type")).endswith(_WEIGHTLESS)]
    return [inside(path, name) for path in paths if path]


def _find(place: Place, folder: str) -> _Weights | None:
    """Return the weight files of one folder; None when it holds none in safetensors.

    Raises:
        ImportRejected: it holds pickles only, or several models.
    """
    for name in _candidates():
        path = _join(folder, name)
        if _lacks(place, path):
            continue
        if ".index." in name:
            if (weights := _from_index(place, path)) is not None:
                return weights
        elif place.files is not None or place.open(path) is not None:
            return _Weights((path,), {})
    if place.files is not None:
        return _find_listed(place.files, folder)
    if place.open(_join(folder, "pytorch_model.bin")) is not None:
        raise _pickle(_join(folder, "pytorch_model.bin"))
    return None


def _candidates() -> Iterable[str]:
    for stem in STEMS:
        yield f"{stem}.safetensors"
        yield f"{stem}{INDEX}"
    for variant in VARIANTS:
        for stem in STEMS[:2]:
            yield f"{stem}.{variant}.safetensors"
            yield f"{stem}.safetensors.index.{variant}.json"
            yield f"{stem}.{variant}{INDEX}"


def _find_listed(files: Sequence[str], folder: str) -> _Weights | None:
    """Return the safetensors files of any name that a listed folder holds, when they are one model."""
    here = [path for path in files if path.rpartition("/")[0] == folder]
    stored = [path for path in here if path.endswith(".safetensors")]
    sets = {tuple(_parts(path)) for path in stored}
    if len(sets) > 1:
        names = ", ".join(sorted(clip(paths[0]) for paths in sets)[:4])
        raise ImportRejected(
            f"{folder or 'the folder'} holds {len(sets)} models: {names}", hint="name the file that is meant"
        )
    if sets:
        return _Weights(sets.pop(), {})
    pickles = [
        path for path in here if path.endswith(PICKLES) and path.rpartition("/")[2] != "training_args.bin"
    ]
    if pickles and not any(path.endswith(".gguf") for path in here):
        raise _pickle(pickles[0])
    return None


def _from_index(place: Place, path: str) -> _Weights | None:
    index = _json(place, path)
    if index is None:
        return None
    promised = index.get("weight_map")
    if not isinstance(promised, dict) or not promised:
        raise ImportRejected(f"{clip(path)} has no weight_map")
    folder = path.rpartition("/")[0]
    names = {name if isinstance(name, str) else "" for name in promised.values()}
    shards = {name: _join(folder, inside(name, path)) for name in names}
    for name in shards:
        if name.endswith(PICKLES):
            raise _pickle(name)
        if not name.endswith(".safetensors"):
            raise ImportRejected(f"{clip(path)} names {clip(name)}, which is not a .safetensors file")
    return _Weights(tuple(sorted(shards.values())), {name: shards[shard] for name, shard in promised.items()})


def _read_weights(
    place: Place, found: Mapping[str, _Weights | None], config: Mapping[str, Any], name: str
) -> Header:
    """Read every file of every component."""
    jobs = [(part, path) for part, weights in found.items() if weights for path in weights.paths]
    read = _all(place, jobs)
    tensors: list[StoredTensor] = []
    for part, weights in found.items():
        if weights is None:
            continue
        where: dict[str, str] = {}
        for path in weights.paths:
            for tensor in read[part, path]:
                if tensor.name in where:
                    raise ImportRejected(
                        f"{clip(repr(tensor.name))} lies in {clip(where[tensor.name])} and in {clip(path)}"
                    )
                where[tensor.name] = path
            tensors += read[part, path]
        _keep_promises(weights.promised, where)
    return Header(name, tuple(tensors), config, tuple(path for _, path in jobs), "safetensors")


def _keep_promises(promised: Mapping[str, str], where: Mapping[str, str]) -> None:
    """Check that each shard holds what the index says: mixed downloads do not."""
    for name, path in promised.items():
        if where.get(name) != path:
            raise ImportRejected(
                f"the index says that {clip(path)} holds {clip(repr(name))}, which it does not",
                hint="index and shards are of different models: download them again",
            )


def _all(place: Place, jobs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[StoredTensor, ...]]:
    def read(job: tuple[str, str]) -> tuple[StoredTensor, ...]:
        part, path = job
        return safetensors.read_tensors(_open(place, path), part)

    if len(jobs) > _MAX_FILES:
        raise ImportRejected(f"{clip(place.name)} is said to have {len(jobs)} files; no model has")
    if not place.is_remote:
        return {job: read(job) for job in jobs}
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - start-up: only journeys need threads

    pool = ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(jobs)))
    try:
        return dict(zip(jobs, pool.map(read, jobs), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)


def _read_gguf_folder(place: Place) -> Header:
    """Read the one GGUF model of a folder."""
    models = {_parts(path)[0] for path in place.files or () if path.endswith(".gguf")}
    if len(models) > 1:
        names = ", ".join(clip(name) for name in sorted(models)[:6])
        raise ImportRejected(
            f"{place.name} holds {len(models)} GGUF models: {names}", hint="name the file that is meant"
        )
    if not models:
        raise _no_weights(place, "")
    path = models.pop()
    return _read_gguf(place, path, _open(place, path), place.name)


def _read_gguf(place: Place, path: str, first: Source, name: str) -> Header:
    paths = _parts(path)
    one = gguf.read_file(first)
    if one.n_parts == 1:
        paths = [path]
    elif one.n_parts != len(paths):
        raise ImportRejected(
            f"{clip(path)} is one of {one.n_parts} files, which its name does not say",
            hint="give the files back their names: NAME-00001-of-0000N.gguf",
        )
    files = [one if part == path else gguf.read_file(_open(place, part)) for part in paths]
    for number, (part, file) in enumerate(zip(paths, files, strict=True)):
        if len(paths) > 1 and (file.n_parts, file.metadata.get("split.no")) != (len(paths), number):
            raise ImportRejected(f"{clip(part)} is not file {number + 1} of {len(paths)}, as its name says")
    tensors = tuple(tensor for file in files for tensor in file.tensors)
    said = files[0].metadata.get("split.tensors.count", len(tensors))
    names = {tensor.name for tensor in tensors}
    if len(names) < len(tensors) or (len(paths) > 1 and said != len(tensors)):
        raise ImportRejected(
            f"the files of {clip(path)} hold {len(names)} tensors, not the {clip(str(said))} they say",
            hint="download them again",
        )
    return Header(name, tensors, files[0].metadata, tuple(paths), "gguf")


def _parts(path: str) -> list[str]:
    """Return the names of all files of the set that a file belongs to; its own when it has no set."""
    match = _PART.fullmatch(path)
    count = int(match["count"]) if match else 1
    if match is None or not 1 <= int(match["number"]) <= count:
        return [path]
    return [f"{match['stem']}-{number:05}-of-{count:05}{match['end']}" for number in range(1, count + 1)]


def _open(place: Place, path: str) -> Source:
    source = None if _lacks(place, path) else place.open(path)
    if source is None:
        raise _absent(place, path)
    return source


def _json(place: Place, path: str) -> Mapping[str, Any] | None:
    text = None if _lacks(place, path) else place.read_text(path)
    return None if text is None else parse_json(text, path)


def _lacks(place: Place, path: str) -> bool:
    """Tell whether a folder that could be listed has no such file."""
    return place.files is not None and path not in place.files


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _absent(place: Place, path: str) -> Absent:
    return Absent(f"{clip(place.name)} has no {clip(path)}", hint="download the files that are missing")


def _pickle(path: str) -> ImportRejected:
    return ImportRejected(
        f"{clip(path)} is a pickle: to read it is to run it, and we do neither",
        hint="take the model's .safetensors or .gguf files, or convert it with safetensors.torch",
    )


def _no_weights(place: Place, folder: str) -> DataError:
    where = clip(f"{place.name}/{folder}" if folder else place.name)
    return DataError(
        f"{where} holds no weights: no .safetensors and no .gguf file", hint="check the folder", code="file"
    )
