"""What holds of GPU names whatever the spelling."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rackrate.catalog.aliases import family_members, gpu_names, match_gpu
from rackrate.catalog.gpu_table import gpu_table

SPELLINGS = sorted(gpu_table().spellings)


@st.composite
def respelt(draw: st.DrawFn) -> tuple[str, str]:
    """Return a slug and one of its names with other separators and another case."""
    slug, name = draw(st.sampled_from(SPELLINGS))
    separator = draw(st.sampled_from(["-", "_", " ", "  ", ""]))
    flips = draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    cased = "".join(c.upper() if up else c.lower() for c, up in zip(name, flips, strict=True))
    vendor = draw(st.sampled_from(["", "NVIDIA ", "nvidia-"]))
    return slug, vendor + cased.replace("-", " ").replace(" ", separator)


@given(respelt())
def test_case_and_separators_do_not_matter(case: tuple[str, str]) -> None:
    slug, name = case
    assert match_gpu(name).slug == slug


@given(
    raw=st.text(max_size=200),
    sku=st.text(max_size=40),
    provider=st.text(max_size=20),
    vram_gib=st.none() | st.floats(),
    form=st.text(max_size=20),
)
def test_no_text_raises(raw: str, sku: str, provider: str, vram_gib: float | None, form: str) -> None:
    match = match_gpu(raw, sku=sku, provider=provider, vram_gib=vram_gib, form=form)
    assert (match.slug is None) == (match.by == "unknown") == (not match.candidates)
    assert match.slug is None or match.slug in gpu_names()


@given(
    words=st.lists(
        st.sampled_from([*(name for _, name in SPELLINGS), "8x", "80GB", "SXM5", "PCIe", "1/4", "x86"]),
        max_size=4,
    ),
    vram_gib=st.none() | st.floats(min_value=0, max_value=1e6),
)
def test_a_family_holds_its_candidates(words: list[str], vram_gib: float | None) -> None:
    match = match_gpu(" ".join(words), vram_gib=vram_gib)
    if match.slug:
        assert set(match.candidates) <= set(family_members(match.slug))
        assert match.is_family == (len(match.candidates) > 1)
