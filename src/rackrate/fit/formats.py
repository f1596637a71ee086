"""How a number is stored: bits, what a group of them shares, and which rows a format can take.

A format says what a matrix costs exactly: bits of each number, plus the scales (and zero points)
that each group carries. Groups run along a row; a row that does not divide falls back.

Sources: the formats' own definitions: OCP MX v1.0 (MXFP4: 32 numbers share an 8-bit exponent),
NVIDIA's NVFP4 (16 share an FP8 scale), GPTQ and AWQ (a 16-bit scale and a zero point of the weight's
width a group), QLoRA section 3 (64 share a 32-bit constant; double quantisation: 8 bits, and 32 bits
for 256 of those), MLX (16-bit scale and bias), ggml's block sizes (a block is 256 or 32 numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rackrate.errors import UsageError


@dataclass(frozen=True, slots=True)
class Format:
    """How the numbers of a matrix are stored.

    Attributes:
        name: what it is called.
        bits: of one number, without what its group shares.
        group_cols: numbers along a row that share; 0 when nothing is shared.
        group_rows: rows that share; 1 unless the groups are tiles.
        group_bits: what a group shares: scale, zero point.
        multiple: what the length of a row must be a multiple of; 1 when any will do.
        fallback: the format of a row that is not.
    """

    name: str
    bits: float
    group_cols: int = 0
    group_rows: int = 1
    group_bits: float = 0.0
    multiple: int = 1
    fallback: str = ""

    def bytes_of(self, rows: int, cols: int) -> float:
        """Return the bytes of a matrix of `rows` x `cols` numbers."""
        if cols % self.multiple:
            return FORMATS[self.fallback].bytes_of(rows, cols)
        shared = 0.0
        if self.group_cols:
            shared = -(-rows // self.group_rows) * -(-cols // self.group_cols) * self.group_bits
        return (rows * cols * self.bits + shared) / 8


def _ggml(name: str, block_bytes: int, block: int, fallback: str = "") -> Format:
    return Format(name, 8 * block_bytes / block, multiple=block, fallback=fallback)


def grouped(bits: int, group: int, *, is_symmetric: bool = False) -> str:
    """Return the name of an integer format: `int4-g128`, `int4-row` for a group of -1, `int4-g128-sym`."""
    size = f"g{group}" if group > 0 else "row"
    return f"int{bits}-{size}" + ("-sym" if is_symmetric else "")


def _integers() -> Iterator[Format]:
    """Yield integer formats: a 16-bit scale a group and, where it is not symmetric, a zero point."""
    for bits in WIDTHS:
        for group in GROUPS:
            for is_symmetric in (False, True):
                name = grouped(bits, group, is_symmetric=is_symmetric)
                cols = group if group > 0 else 1 << 40
                yield Format(name, bits, group_cols=cols, group_bits=16 if is_symmetric else 16 + bits)


_AVERAGE_STEP = 0.05


def averaged(bits: float) -> str:
    """Return the name of the format of matrices whose numbers have `bits` on average: `4.25bpw`.

    Raises:
        UsageError: fewer bits than one, or more than eight.
    """
    if not 1 <= bits <= 8:  # noqa: PLR2004 - what EXL2 and EXL3 write
        raise UsageError(f"{bits:g} bits a weight are not from 1 to 8", hint="write it like 4.25")
    return f"{round(bits / _AVERAGE_STEP) * _AVERAGE_STEP:.4g}bpw"


WIDTHS = (2, 3, 4, 8)
GROUPS = (16, 32, 64, 128, 256, 512, 1024, -1)
MLX_WIDTHS = (2, 3, 4, 5, 6, 8)
MLX_GROUPS = (32, 64, 128)

_ALL = (
    Format("fp32", 32),
    Format("bf16", 16),
    Format("fp16", 16),
    Format("fp8", 8, group_cols=1 << 40, group_bits=32),  # a scale a row (per channel)
    Format("fp8-tensor", 8, group_cols=1 << 40, group_rows=1 << 40, group_bits=32),
    Format("fp8-block", 8, group_cols=128, group_rows=128, group_bits=32),
    Format("int8", 8, group_cols=1 << 40, group_bits=32),
    Format("nf4", 4, group_cols=64, group_bits=32),
    Format("nf4-dq", 4, group_cols=64, group_bits=8 + 32 / 256),
    Format("mxfp4", 4, group_cols=32, group_bits=8),
    Format("nvfp4", 4, group_cols=16, group_bits=8),
    *_integers(),
    *(Format(averaged(step * _AVERAGE_STEP), step * _AVERAGE_STEP) for step in range(20, 161)),
    *(
        Format(f"mlx{bits}-g{group}", bits, group_cols=group, group_bits=32)
        for bits in MLX_WIDTHS
        for group in MLX_GROUPS
    ),
    _ggml("Q8_0", 34, 32, "fp16"),
    _ggml("Q4_0", 18, 32, "fp16"),
    _ggml("Q4_1", 20, 32, "fp16"),
    _ggml("Q5_0", 22, 32, "fp16"),
    _ggml("Q5_1", 24, 32, "fp16"),
    _ggml("IQ4_NL", 18, 32, "fp16"),
    # A super-block has 256 numbers: llama.cpp stores a row that does not divide one type larger.
    _ggml("Q2_K", 84, 256, "Q4_0"),
    _ggml("Q3_K", 110, 256, "Q4_0"),
    _ggml("Q4_K", 144, 256, "Q5_0"),
    _ggml("Q5_K", 176, 256, "Q5_1"),
    _ggml("Q6_K", 210, 256, "Q8_0"),
    _ggml("IQ1_S", 50, 256, "IQ4_NL"),
    _ggml("IQ1_M", 56, 256, "IQ4_NL"),
    _ggml("IQ2_XXS", 66, 256, "IQ4_NL"),
    _ggml("IQ2_XS", 74, 256, "IQ4_NL"),
    _ggml("IQ2_S", 82, 256, "IQ4_NL"),
    _ggml("IQ3_XXS", 98, 256, "IQ4_NL"),
    _ggml("IQ3_S", 110, 256, "IQ4_NL"),
    _ggml("IQ4_XS", 136, 256, "IQ4_NL"),
)

FORMATS: Mapping[str, Format] = {fmt.name: fmt for fmt in _ALL}
"""Every format by its name."""
