"""What a precision means for each tensor: which matrices it narrows, and what stays in 16 bit.

"FP8" or "INT4" name the width of the linear layers only. Checkpoints keep embeddings, the output
matrix, norms, routers, convolutions and the eyes of a model in 16 bit; with a vocabulary of 128,000
that is a tenth of a 4-bit file. What each family of files keeps stands in one table here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.errors import UnknownName, nearest
from rackrate.fit.formats import FORMATS, MLX_WIDTHS, grouped
from rackrate.fit.gguf_mix import FUSED, RECIPES, Recipe, Shape, types_of

LINEAR = frozenset({"attention", "mlp", "experts", "recurrent"})
"""Roles of the linear layers: what weight quantisation narrows."""

_STEADY = LINEAR - {"recurrent"}
"""What most makers narrow: a rounding error in a recurrent layer adds up over the sequence. A Qwen3.6-27B
in FP8 takes 33.66 GiB in vLLM: 33.47 by this rule, 28.3 with the recurrent layers in 8 bit too."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How the weights are stored.

    Attributes:
        name: as the user writes it.
        matrix: format of the linear layers.
        rest: format of everything else.
        narrowed: roles that `matrix` applies to.
        kept_parts: parts of the model that stay at `rest` whatever their role.
        embedding: format of the embedding and the output matrix; empty for `rest`.
        recipe: of a GGUF file (`gguf_mix.RECIPES`), which then decides alone; else empty.
        error_frac: one standard deviation of the bytes that these rules give for a published checkpoint
            of that kind, as a share; a file's header knows better.
    """

    name: str
    matrix: str
    rest: str = "bf16"
    narrowed: frozenset[str] = LINEAR
    kept_parts: frozenset[str] = frozenset({"vision", "audio"})
    embedding: str = ""
    recipe: str = ""
    error_frac: float = 0.01

    @property
    def is_wide(self) -> bool:
        """Whether nothing is narrowed: 16 or 32 bits for every number."""
        return self.matrix == self.rest

    @property
    def bits(self) -> float:
        """Bits of a number of a linear layer, with its share of scales."""
        fmt = FORMATS[RECIPES[self.recipe].base if self.recipe else self.matrix]
        shared = fmt.group_bits / (fmt.group_cols * fmt.group_rows) if fmt.group_cols else 0.0
        return fmt.bits + shared

    def bytes_of(self, tensor: Tensor, arch: Architecture) -> float:
        """Return the bytes of all `tensor.count` tensors."""
        if self.recipe:
            return _gguf_bytes(tensor, arch, self.recipe)
        return FORMATS[self.format_of(tensor)].bytes_of(tensor.rows, tensor.cols) * tensor.count

    def format_of(self, tensor: Tensor) -> str:
        """Return the format of a tensor; a recipe gives several, see `bytes_of`."""
        if not tensor.is_matrix or tensor.part in self.kept_parts:
            return self.rest
        if tensor.role in ("embedding", "head"):
            return self.embedding or self.rest
        return self.matrix if tensor.role in self.narrowed else self.rest


def _gguf_bytes(tensor: Tensor, arch: Architecture, name: str) -> float:
    """Return the bytes in a GGUF file: vectors, places and routers in 32 bit, the rest by the recipe."""
    recipe = RECIPES[name]
    if tensor.part in ("vision", "audio"):
        return 0.0  # in a file of its own (mmproj), which is loaded only when it is asked for
    if not tensor.is_matrix or tensor.role == "router" or tensor.name in _NEVER_NARROWED:
        return FORMATS["fp32"].bytes_of(tensor.rows, tensor.cols) * tensor.count
    shape = _shape_of(arch)
    if tensor.role in ("embedding", "head"):
        return sum(
            FORMATS[kind].bytes_of(tensor.rows, tensor.cols) * tensor.count
            for kind in _outer_types(tensor, arch, recipe, shape)
        )
    if tensor.role == "experts" and name == "mxfp4":
        return FORMATS["mxfp4"].bytes_of(tensor.rows, tensor.cols) * tensor.count
    n_layers = min(tensor.count, arch.main.n_layers)
    is_fused = arch.model_type in _FUSED and tensor.name in ("attn_q", "attn_k", "attn_v")
    types = types_of(recipe, FUSED if is_fused else tensor.name, n_layers, shape)
    a_layer = tensor.count / max(n_layers, 1)
    return sum(
        FORMATS[kind].bytes_of(tensor.rows, tensor.cols) * layers * a_layer for kind, layers in types.items()
    )


_FUSED = frozenset(
    {"falcon", "phi3", "phi", "phimoe", "gpt2", "gpt_neox", "bloom", "mpt", "dbrx", "gpt_bigcode"}
)
"""Families whose files hold query, key and value projections as one matrix."""

_NEVER_NARROWED = ("position_embd", "token_types", "attn_rel_b")


def _shape_of(arch: Architecture) -> Shape:
    main = arch.main
    queries = main.n_heads / max(main.n_kv_heads, 1)
    return Shape(main.n_layers, queries, main.n_experts, arch.model_type == "falcon")


def _outer_types(tensor: Tensor, arch: Architecture, recipe: Recipe, shape: Shape) -> tuple[str, ...]:
    """Return the types of an embedding or output matrix: two where one matrix is written twice."""
    output = recipe.output
    if tensor.cols % FORMATS[recipe.base].multiple or (shape.is_falcon and recipe.output == "Q6_K"):
        output = "Q8_0"
    if tensor.role == "head":
        return (output,)
    narrow = recipe.embedding or recipe.base
    if any(t.role == "head" for t in arch.tensors):
        return (narrow,)
    return (narrow, output) if shape.is_falcon else (output,)  # Falcon's files carry both


_NONE: frozenset[str] = frozenset()

_ALL = (
    Precision("fp32", "fp32", rest="fp32", error_frac=0.003),
    Precision("bf16", "bf16", error_frac=0.003),
    Precision("fp16", "fp16", rest="fp16", error_frac=0.003),
    Precision("fp8", "fp8", narrowed=_STEADY),
    Precision("fp8-block", "fp8-block"),
    Precision("int8", "int8", narrowed=_STEADY),
    Precision("int4", "int4-g128", rest="fp16", narrowed=_STEADY),
    Precision("int4-g32", "int4-g32", rest="fp16", narrowed=_STEADY),
    Precision("int4-g64", "int4-g64", rest="fp16", narrowed=_STEADY),
    Precision("int4-row", "int4-row", rest="fp16", narrowed=_STEADY),
    Precision("int8-g128", "int8-g128", rest="fp16", narrowed=_STEADY),
    Precision("int3", "int3-g128", rest="fp16", narrowed=_STEADY),
    Precision("nf4", "nf4", kept_parts=_NONE),
    Precision("nf4-dq", "nf4-dq", kept_parts=_NONE),
    Precision("mxfp4", "mxfp4", narrowed=frozenset({"experts"})),
    Precision("nvfp4", "nvfp4", narrowed=_STEADY, error_frac=0.03),
    Precision("mlx-4bit", "mlx4-g64", narrowed=LINEAR | {"router"}, embedding="mlx4-g64"),
    Precision("mlx-8bit", "mlx8-g64", narrowed=LINEAR | {"router"}, embedding="mlx8-g64"),
)

PRECISIONS: Mapping[str, Precision] = {p.name: p for p in _ALL} | {
    f"gguf:{name}": Precision(f"gguf:{name}", RECIPES[name].base, rest="fp16", recipe=name, error_frac=0.006)
    for name in RECIPES
}
"""Every precision by its name."""

ALIASES: Mapping[str, str] = {
    "float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16", "16bit": "bf16",
    "float8": "fp8", "fp8-dynamic": "fp8", "w8a8-fp8": "fp8", "fp8-channel": "fp8", "e4m3": "fp8",
    "w8a8": "int8", "int8-bnb": "int8", "llm.int8": "int8", "8bit": "int8", "gptq-int8": "int8-g128",
    "awq": "int4", "gptq": "int4", "w4a16": "int4", "4bit": "int4", "gptq-int4": "int4", "awq-int4": "int4",
    "int4-g128": "int4", "fp4": "nvfp4", "bnb-4bit": "nf4", "qlora": "nf4-dq", "mlx": "mlx-4bit",
}  # fmt: skip
"""Other words for a precision."""


_WORDS = (
    (r"double[- ]quant|\bdq\b|torchao nf4", "nf4-dq"),
    (r"nf4|bnb 4|bitsandbytes 4|bitsandbytes$", "nf4"),
    (r"mxfp4", "mxfp4"),
    (r"fp4", "nvfp4"),
    (r"mlx.*8-?bit", "mlx-8bit"),
    (r"mlx", "mlx-4bit"),
    (r"fp8.*block|block.*fp8", "fp8-block"),
    (r"fp8|e4m3", "fp8"),
    (r"gptq-?int8|int8.*g128", "int8-g128"),
    (r"int8|8-?bit|w8a8", "int8"),
    (r"int4|4-?bit|awq|gptq", "int4"),
)


def precision_in(words: str) -> str:
    """Return the name of the precision that words about a format tell, in prose or an engine's; else empty.

    >>> precision_in("AWQ-Int4 g128"), precision_in("bitsandbytes"), precision_in("compressed-tensors")
    ('int4', 'nf4', '')
    """
    return next((name for pattern, name in _WORDS if re.search(pattern, words.lower())), "")


@lru_cache(maxsize=512)
def find_precision(name: str) -> Precision:
    """Return the precision that `name` means.

    >>> find_precision("AWQ").name, find_precision("q4_K_M").name
    ('int4', 'gguf:q4_k_m')

    Raises:
        UnknownName: no such precision, with the nearest.
    """
    key = re.sub(r"[\s_]+", "-", name.strip().lower())
    gguf = key.removeprefix("gguf:").removeprefix("gguf-").replace("-", "_")
    for choice in (key, ALIASES.get(key, ""), f"gguf:{gguf}"):
        if choice in PRECISIONS:
            return PRECISIONS[choice]
    usual = ["bf16", "fp8", "int8", "int4", "gguf:q4_k_m"]
    raise UnknownName("precision", name, nearest(key, [*PRECISIONS, *ALIASES]) or usual)


# Names of modules in Hugging Face checkpoints that hold most of a role; what is a part of one only
# (an output projection, the two small inputs of a gated delta net) is not worth a rule.
_MODULES = {
    "attention": r"(?:self_attn|(?:self_)?attention|\battn|\b(?:q|qkv|q_b)_proj|query_key_value)$",
    "recurrent": r"(?:linear_attn|mamba|mixer|linear_attn\.in_proj_qkvz?|(?:mamba|mixer)\.in_proj)$",
    "experts": r"(?<!shared_)(?:experts|experts\.(?:\d+\.)?(?:gate|up|gate_up)_proj|block_sparse_moe)$",
    "mlp": r"(?:(?:mlp|feed_forward|shared_experts?)(?:\.(?:gate|up|gate_up)_proj)?|mlp\.fc1)$",
    "router": r"(?:mlp\.gate|router)$",
}
_TOWERS = re.compile(r"visual|vision|audio|image|speech|projector|merger")
_LISTS = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "llm_int8_skip_modules")


def from_config(quantization: Mapping[str, Any], arch: Architecture) -> Precision:
    """Return the precision that a config's `quantization_config` states.

    Args:
        quantization: as read; not empty.
        arch: the model, to see whether a list of exceptions covers a role in most of its layers.

    Raises:
        UnknownName: a method that no rule here covers.
    """
    inner = quantization.get("quantization")  # as modelopt writes it in a file of its own
    stated = {**quantization, **inner} if isinstance(inner, Mapping) else quantization
    method = str(stated.get("quant_method", stated.get("quant_algo", ""))).lower()
    found = _from_method(method, stated)
    if found is None:
        known = ["gptq", "awq", "fp8", "compressed-tensors", "bitsandbytes", "mxfp4", "modelopt", "mlx"]
        raise UnknownName("quantisation method", method, nearest(method, known) or known)
    names = [_plain(name) for key in _LISTS for name in _strings(stated.get(key))]
    towers = frozenset({"vision", "audio"}) if any(_TOWERS.search(name) for name in names) else _NONE
    spoken = [name for name in names if not _TOWERS.search(name) and not name.startswith("mtp")]
    narrowed = found.narrowed | LINEAR if found.narrowed >= _STEADY else found.narrowed  # the list decides
    kept = {role for role in narrowed if _covers(spoken, role, arch)}
    return replace(
        found,
        narrowed=narrowed - kept,
        kept_parts=found.kept_parts | towers,
        error_frac=found.error_frac / 2,
    )


def _strings(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []


def _plain(pattern: str) -> str:
    """Return a name without the marks of a pattern: `re:.*mlp.gate$` is `mlp.gate`."""
    return pattern.removeprefix("re:").replace("\\", "").strip("^$*.")


def _covers(names: Iterable[str], role: str, arch: Architecture) -> bool:
    """Tell whether exceptions name a role as a whole: once for all layers, or most layers one by one."""
    hits = [name for name in names if re.search(_MODULES.get(role, "$^"), name)]
    layers = {match[1] for name in hits if (match := re.search(r"layers\.(\d+)\.", name))}
    if any(not re.search(r"\.\d+\.", name) for name in hits):
        return True
    return 2 * len(layers) > _layers_of(role, arch)


def _layers_of(role: str, arch: Architecture) -> int:
    """Return how many layers of the language model have tensors of a role."""
    counts = [t.count for t in arch.tensors if t.role == role and t.part == "language" and not t.is_extra]
    return min(max(counts, default=0), arch.main.n_layers)


def _from_method(method: str, q: Mapping[str, Any]) -> Precision | None:
    for names, read in _METHODS.items():
        if method in names:
            return read(q)
    return None


def _packed(q: Mapping[str, Any]) -> Precision:
    inner = q.get("quant_config")
    params = inner.get("weight_quant_params") if isinstance(inner, Mapping) else None  # HQQ
    if isinstance(params, Mapping):
        return _grouped(_int(params.get("nbits"), 4), _int(params.get("group_size"), 64))
    bits = _int(q.get("bits", q.get("w_bit")), 4)
    return _grouped(bits, _int(q.get("group_size", q.get("q_group_size")), 128))


def _fp8(q: Mapping[str, Any]) -> Precision:
    return PRECISIONS["fp8-block" if q.get("weight_block_size") else "fp8"]


def _bitsandbytes(q: Mapping[str, Any]) -> Precision:
    if not q.get("load_in_4bit"):
        return PRECISIONS["int8"]
    return PRECISIONS["nf4-dq" if q.get("bnb_4bit_use_double_quant") else "nf4"]


def _modelopt(q: Mapping[str, Any]) -> Precision:
    algorithm = str(q.get("quant_algo") or q.get("quant_method")).lower()
    return PRECISIONS["nvfp4" if "fp4" in algorithm else "fp8"]


def _mlx(q: Mapping[str, Any]) -> Precision:
    bits, group = _int(q.get("bits"), 4), _int(q.get("group_size"), 64)
    name = f"mlx{bits}-g{group}"
    if name not in FORMATS:
        raise UnknownName(
            "quantisation", f"MLX of {bits} bits in groups of {group}", [f"{n} bits" for n in MLX_WIDTHS]
        )
    return replace(PRECISIONS["mlx-4bit"], name=f"mlx-{bits}bit", matrix=name, embedding=name)


def _grouped(bits: int, group: int, *, is_symmetric: bool = False) -> Precision:
    """Return the GPTQ or AWQ precision of that width; a group of -1 is a whole row.

    Raises:
        UnknownName: a width or a group that nobody packs.
    """
    matrix = grouped(bits, group, is_symmetric=is_symmetric)
    if matrix not in FORMATS:
        what = f"{bits} bits in groups of {group}"
        raise UnknownName("quantisation", what, nearest(matrix, FORMATS) or ["int4-g128"])
    name = next((p.name for p in _ALL if p.matrix == matrix), matrix)
    return replace(PRECISIONS["int4"], name=name, matrix=matrix)


def _compressed(q: Mapping[str, Any]) -> Precision | None:
    """Read the first group of a compressed-tensors config: its width, type and strategy."""
    groups = q.get("config_groups")
    first: object = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return None
    bits, kind = _int(weights.get("num_bits", 8), 8), str(weights.get("type", "int"))
    if kind == "float":
        if bits == 4:  # noqa: PLR2004
            is_mx = "mxfp4" in str(q.get("format")) or _int(weights.get("group_size"), 16) == 32  # noqa: PLR2004
            return replace(PRECISIONS["mxfp4"], narrowed=LINEAR) if is_mx else PRECISIONS["nvfp4"]
        return PRECISIONS["fp8-block" if weights.get("strategy") == "block" else "fp8"]
    if weights.get("strategy") in ("channel", "tensor") and bits == 8:  # noqa: PLR2004
        return PRECISIONS["int8"]
    group = _int(weights.get("group_size"), -1)
    return _grouped(bits, group, is_symmetric=bool(weights.get("symmetric", True)))


_METHODS: Mapping[tuple[str, ...], Callable[[Mapping[str, Any]], Precision | None]] = {
    ("gptq", "awq", "auto-round", "autoround", "hqq", "intel/auto-round"): _packed,
    ("fp8", "fbgemm_fp8"): _fp8,
    ("bitsandbytes",): _bitsandbytes,
    ("compressed-tensors", "compressed_tensors"): _compressed,
    ("modelopt", "modelopt_fp4", "nvfp4", "fp4"): _modelopt,
    ("mxfp4",): lambda _: PRECISIONS["mxfp4"],
    ("mlx", "affine", ""): _mlx,  # MLX writes bits and group size and no method
}


def _int(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
