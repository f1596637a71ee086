"""What a precision means for each tensor: which matrices it narrows, and what stays in 16 bit.

"FP8" or "INT4" name the width of the linear layers only. Checkpoints keep embeddings, the output
matrix, norms, routers, convolutions and the eyes of a model in 16 bit; with a vocabulary of 128,000
that is a tenth of a 4-bit file. What each family of files keeps stands in one table here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.errors import UnknownName, nearest
from rackrate.fit.formats import FORMATS, MLX_WIDTHS, averaged, grouped
from rackrate.fit.gguf_mix import FUSED, RECIPES, Recipe, Shape, types_of

LINEAR = frozenset({"attention", "mlp", "experts", "recurrent"})
"""Roles of the linear layers: what weight quantisation narrows."""

STEADY = LINEAR - {"recurrent"}
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
        by_role: formats of roles that have one of their own, as pairs: those of the embedding and the output
            matrix, where they are narrowed, and of files whose layers differ.
        recipe: of a GGUF file (`gguf_mix.RECIPES`), which then decides alone; else empty.
        error_frac: one standard deviation of the bytes that these rules give for a published checkpoint
            of that kind, as a share; a file's header knows better.
    """

    name: str
    matrix: str
    rest: str = "bf16"
    narrowed: frozenset[str] = LINEAR
    kept_parts: frozenset[str] = frozenset({"vision", "audio"})
    by_role: tuple[tuple[str, str], ...] = ()
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
        for role, own in self.by_role:
            if role == tensor.role:
                return own
        return self.matrix if tensor.role in self.narrowed else self.rest

    def applied_to(self, arch: Architecture) -> Precision:
        """Return it as a file of `arch` has it: what narrows experts narrows all of a model without any."""
        is_of_experts = self.narrowed == {"experts"}
        return replace(self, narrowed=STEADY) if is_of_experts and not arch.main.n_experts else self


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


def mlx_precision(bits: int, fmt: str) -> Precision:
    """Return the precision of MLX's converter, which narrows embedding, output matrix and routers, too."""
    ends = (("embedding", fmt), ("head", fmt))
    return Precision(f"mlx-{bits}bit", fmt, narrowed=LINEAR | {"router"}, by_role=ends)


_ALL = (
    Precision("fp32", "fp32", rest="fp32", error_frac=0.003),
    Precision("bf16", "bf16", error_frac=0.003),
    Precision("fp16", "fp16", rest="fp16", error_frac=0.003),
    Precision("fp8", "fp8", narrowed=STEADY),
    Precision("fp8-block", "fp8-block"),
    Precision("int8", "int8", narrowed=STEADY),
    Precision("int4", "int4-g128", rest="fp16", narrowed=STEADY),
    Precision("int4-g32", "int4-g32", rest="fp16", narrowed=STEADY),
    Precision("int4-g64", "int4-g64", rest="fp16", narrowed=STEADY),
    Precision("int4-row", "int4-row", rest="fp16", narrowed=STEADY),
    Precision("int8-g128", "int8-g128", rest="fp16", narrowed=STEADY),
    Precision("int3", "int3-g128", rest="fp16", narrowed=STEADY),
    Precision("int2", "int2-g64", rest="fp16", narrowed=STEADY),
    Precision("nf4", "nf4", kept_parts=_NONE),
    Precision("nf4-dq", "nf4-dq", kept_parts=_NONE),
    Precision("mxfp4", "mxfp4", narrowed=frozenset({"experts"})),
    Precision("nvfp4", "nvfp4", narrowed=STEADY, error_frac=0.03),
    *(mlx_precision(bits, f"mlx{bits}-g64") for bits in MLX_WIDTHS),
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
    "bnb-8bit": "int8", "int3-g128": "int3", "q3-k": "gguf:q3_k_m", "q4-k": "gguf:q4_k_m",
    "q5-k": "gguf:q5_k_m",
}  # fmt: skip
"""Other words for a precision."""


_WORDS = (
    (r"double[- ]quant|\bdq\b|torchao nf4", "nf4-dq"),
    (r"nf4|(?:bnb|bitsandbytes)[- ]4|bitsandbytes$", "nf4"),
    (r"mxfp4", "mxfp4"),
    (r"fp4", "nvfp4"),
    *((rf"mlx.*\b{bits}-?bit", f"mlx-{bits}bit") for bits in MLX_WIDTHS),
    (r"mlx", "mlx-4bit"),
    (r"fp8.*block|block.*fp8", "fp8-block"),
    (r"fp8|e4m3", "fp8"),
    (r"gptq-?int8|int8.*g128", "int8-g128"),
    (r"int8|8-?bit|w8a8", "int8"),
    (r"int3|\b3-?bit", "int3"),
    (r"int2|\b2-?bit", "int2"),
    (r"int4|4-?bit|w4a|awq|gptq", "int4"),
)
_GROUP = re.compile(r"\bg(\d{2,4})\b|\b(\d{2,4})g\b|group[ _-]?size[ =:]*(\d{2,4})")


def precision_in(words: str) -> str:
    """Return the name of the precision that words about a format tell, in prose or an engine's; else empty.

    >>> precision_in("AWQ-Int4 g128"), precision_in("GPTQ 4bit 32g"), precision_in("compressed-tensors")
    ('int4', 'int4-g32', '')
    """
    text = words.lower()
    name = next((name for pattern, name in _WORDS if re.search(pattern, text)), "")
    group = _GROUP.search(text)
    if not group or name not in ("int4", "int3", "int2"):
        return name
    found = grouped(int(name[3]), int(next(filter(None, group.groups()))))
    return ALIASES.get(found, found) if found in FORMATS else name


def grouped_precision(fmt: str) -> Precision:
    """Return the GPTQ or AWQ precision that stores the linear layers in an integer format of `FORMATS`."""
    name = next((p.name for p in _ALL if p.matrix == fmt), fmt)
    return replace(PRECISIONS["int4"], name=name, matrix=fmt)


def averaged_precision(bits: float, head_bits: float = 6.0) -> Precision:
    """Return the precision of an EXL2 or EXL3 file, whose linear layers have `bits` on average."""
    matrix = averaged(bits)
    return Precision(
        f"exl-{matrix}", matrix, rest="fp16", by_role=(("head", averaged(head_bits)),), error_frac=0.02
    )


@lru_cache(maxsize=512)
def find_precision(name: str) -> Precision:
    """Return the precision that `name` means.

    >>> find_precision("AWQ").name, find_precision("q4_K_M").name, find_precision("int4-g256").name
    ('int4', 'gguf:q4_k_m', 'int4-g256')

    Raises:
        UnknownName: no such precision, with the nearest.
    """
    key = re.sub(r"[\s_]+", "-", name.strip().lower())
    gguf = key.removeprefix("gguf:").removeprefix("gguf-")
    for choice in (key, ALIASES.get(key, ""), ALIASES.get(gguf, ""), f"gguf:{gguf.replace('-', '_')}"):
        if choice in PRECISIONS:
            return PRECISIONS[choice]
    if re.fullmatch(r"int\d-\w+(?:-sym)?", key) and key in FORMATS:
        return grouped_precision(key)
    usual = ["bf16", "fp8", "int8", "int4", "gguf:q4_k_m"]
    raise UnknownName("precision", name, nearest(key, [*PRECISIONS, *ALIASES]) or usual)
