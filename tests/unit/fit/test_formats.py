"""Formats: bits of a number by hand, and rows that a format cannot take."""

from __future__ import annotations

import pytest

from rackrate.fit.formats import FORMATS, GROUPS, WIDTHS, grouped

ROWS, COLS = 4096, 14336  # divides by 1, 16, 32, 64, 128 and 256


def bits(name: str, rows: int = ROWS, cols: int = COLS) -> float:
    return FORMATS[name].bytes_of(rows, cols) * 8 / (rows * cols)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fp32", 32),
        ("bf16", 16),
        ("fp16", 16),
        ("fp8-block", 8 + 32 / (128 * 128)),  # a 32-bit scale for a tile (DeepSeek-V3 report, 3.3.2)
        ("int4-g128", 4 + (16 + 4) / 128),  # GPTQ, AWQ: 4.15625
        ("int4-g64", 4 + 20 / 64),
        ("int4-g32", 4 + 20 / 32),
        ("int4-g128-sym", 4 + 16 / 128),  # compressed-tensors writes no zero points
        ("int8-g128", 8.1875),
        ("int3-g128", 3 + 19 / 128),
        ("int2-g64", 2 + 18 / 64),
        ("nf4", 4.5),  # QLoRA, section 3: 32 bits for 64 numbers
        ("nf4-dq", 4 + 8 / 64 + 32 / (64 * 256)),  # QLoRA: 0.127 bits a parameter instead of 0.5
        ("mxfp4", 4.25),  # OCP MX: 8 bits for 32
        ("nvfp4", 4.5),  # an FP8 scale for 16
        ("mlx4-g64", 4.5),  # 16-bit scale and bias for 64
        ("mlx8-g64", 8.5),
        ("mlx4-g32", 5.0),
        ("mlx3-g64", 3.5),
        ("mlx6-g64", 6.5),
    ],
)
def test_bits_of_a_number(name: str, expected: float) -> None:
    assert bits(name) == pytest.approx(expected, rel=1e-12)


def test_a_scale_a_row_is_next_to_nothing_and_one_a_tensor_nothing() -> None:
    assert FORMATS["fp8"].bytes_of(ROWS, COLS) == ROWS * COLS + 4 * ROWS
    assert FORMATS["fp8-tensor"].bytes_of(ROWS, COLS) == ROWS * COLS + 4
    assert FORMATS["int4-row"].bytes_of(ROWS, COLS) == ROWS * COLS / 2 + ROWS * 20 / 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # sizes of the structs in llama.cpp's ggml-common.h over 256 (32 for the old types)
        ("Q4_0", 4.5), ("Q4_1", 5.0), ("Q5_0", 5.5), ("Q5_1", 6.0), ("Q8_0", 8.5),
        ("Q2_K", 2.625), ("Q3_K", 3.4375), ("Q4_K", 4.5), ("Q5_K", 5.5), ("Q6_K", 6.5625),
        ("IQ1_S", 1.5625), ("IQ1_M", 1.75), ("IQ2_XXS", 2.0625), ("IQ2_XS", 2.3125), ("IQ2_S", 2.5625),
        ("IQ3_XXS", 3.0625), ("IQ3_S", 3.4375), ("IQ4_NL", 4.5), ("IQ4_XS", 4.25),
    ],
)  # fmt: skip
def test_bits_of_ggml_types(name: str, expected: float) -> None:
    assert bits(name) == expected


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        # llama.cpp's tensor_type_fallback for rows that are no multiple of 256
        ("Q2_K", "Q4_0"), ("Q3_K", "Q4_0"), ("Q4_K", "Q5_0"), ("Q5_K", "Q5_1"), ("Q6_K", "Q8_0"),
        ("IQ1_S", "IQ4_NL"), ("IQ2_XXS", "IQ4_NL"), ("IQ3_S", "IQ4_NL"), ("IQ4_XS", "IQ4_NL"),
    ],
)  # fmt: skip
def test_rows_that_256_does_not_divide_fall_back(name: str, fallback: str) -> None:
    assert 29568 % 256 != 0  # the inner width of the 72B models
    assert bits(name, 8192, 29568) == bits(fallback)


def test_rows_that_32_does_not_divide_stay_in_16_bit() -> None:
    assert bits("Q4_K", 64, 1000) == bits("Q8_0", 64, 1000) == 16


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("group", GROUPS)
def test_zero_points_and_small_groups_cost(width: int, group: int) -> None:
    plain = bits(grouped(width, group, is_symmetric=True))
    assert width < plain < bits(grouped(width, group))
    assert bits(grouped(width, group)) <= bits(grouped(width, 16))


def test_every_fallback_is_a_format() -> None:
    assert all(fmt.fallback in FORMATS for fmt in FORMATS.values() if fmt.multiple > 1)


def test_a_group_that_is_not_full_is_stored_whole() -> None:
    assert FORMATS["int4-g128"].bytes_of(1, 129) == (129 * 4 + 2 * 20) / 8
