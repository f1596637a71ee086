"""A stack of any parts can be drawn at any width, and hides none of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rackrate.report.block import Stack, draw, to_html, to_markdown, to_text

GIB = st.floats(0, 500, allow_nan=False)
NAMES = ("weights", "KV cache", "activation peak", "CUDA context", "CUDA graphs", "NCCL", "workspace")


@st.composite
def stacks(drawn: st.DrawFn) -> Stack:
    sizes = drawn(st.lists(GIB, min_size=1, max_size=len(NAMES)))
    whole = drawn(st.floats(1, 300))
    limit = drawn(st.floats(0.1, 1)) * whole
    return Stack("memory", tuple(zip(NAMES, sizes, strict=False)), limit, whole, "GiB")


@given(stacks(), st.integers(20, 120))
def test_the_bar_has_the_width_that_was_asked_for_and_one_mark_at_the_limit(stack: Stack, width: int) -> None:
    bar, *legend = draw(stack, width)
    assert len(bar) == width
    assert bar.count("|") == 1
    reach = max(stack.whole, sum(size for _, size in stack.parts))
    assert abs(bar.index("|") - stack.limit / reach * (width - 1)) <= 0.5
    assert all(len(line) <= max(width, 40) for line in legend)


@given(stacks())
def test_the_legend_names_each_part_once_with_a_letter_of_its_own(stack: Stack) -> None:
    bar, *legend = draw(stack)
    entries = [entry for line in legend for entry in line.split("  ")]
    assert [entry[2:].rpartition(" ")[0] for entry in entries[:-1]] == [name for name, _ in stack.parts]
    letters = [entry[0] for entry in entries[:-1]]
    assert len(set(letters)) == len(letters)
    assert set(bar) <= {*letters, *"█▓▒░·|"}
    assert entries[-1].startswith("| limit ")


@given(stacks())
def test_what_is_free_is_drawn_only_where_something_is(stack: Stack) -> None:
    total = sum(size for _, size in stack.parts)
    bar = draw(stack)[0]
    assert ("·" in bar) <= (total < stack.whole)
    assert abs(bar.count("·") / 63 - max(stack.whole - total, 0) / max(stack.whole, total)) <= 1 / 63


@given(stacks())
def test_every_form_of_output_takes_it(stack: Stack) -> None:
    for text in (to_text([stack]), to_markdown([stack]), to_html([stack])):
        assert "memory" in text
        assert draw(stack)[0] in text
