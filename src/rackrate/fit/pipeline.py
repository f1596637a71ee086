"""Diffusion pipelines and speech recognition: several models that work one after the other.

A pipeline's parts are all loaded unless they are offloaded; they are never busy together, so the peak
is the weights and the busiest part: for an image of a megapixel that is the VAE's decoder, not the
transformer. Whisper is a small model beside its buffers.
"""

from __future__ import annotations

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.errors import UnknownName, nearest
from rackrate.fit.activation import block_bytes_per_token
from rackrate.fit.kv import memory_of
from rackrate.fit.precision import PRECISIONS, Precision
from rackrate.fit.setup import Load
from rackrate.fit.term import GIB, Term, larger, smaller

OFFLOADS = ("none", "model", "sequential")
"""Which parts stay on the GPU: all; the one that works; the layer that works."""

TEXT_TOKENS = 512  # FLUX's T5 prompt
PIXELS_PER_TOKEN = 256  # the VAE shrinks 8 times and patches are 2 x 2
LEFT_OVER_GIB = 0.53  # latents, embeddings and caches beside the decoder (FLUX, 3 measured runs)
DECODER_BYTES = 15  # for each pixel and channel of the VAE's first block: 1.88 GiB a megapixel (FLUX)
USUAL_BLOCK = 128  # channels next to the image
NARROWEST_BLOCK = 64  # channels; narrower vectors belong to the latent
FRAMES_A_LATENT = 4  # video VAEs shrink time, too
FRAMES_AT_ONCE = 20  # what a video VAE holds of a clip: 12 GiB for 49 frames of 480 x 720 (CogVideoX)
DENOISER_BYTES = 2.0  # on the block formula: 0.46 GiB for 4,608 tokens of FLUX on an H100
_NOT_NARROWED = ("text_encoder", "vae")  # small parts that nobody quantises

SPOKEN_TOKENS = 448  # what a decoder of Whisper holds at most
CT2_WORKSPACE_GIB = 1.2  # CTranslate2's buffers while it decodes (one 8 GB card)
LOADED_TWICE_BYTES = 6.0  # openai/whisper builds the model in 32 bit beside its 16-bit checkpoint


def component_bytes(arch: Architecture, precision: Precision) -> dict[str, float]:
    """Return the bytes of each part of a pipeline.

    The transformer and the large text encoder are narrowed; T5's second matrix of each block stays in 32
    bit when bitsandbytes narrows the rest (12.51 GiB by this rule, 12.58 measured after loading).
    """
    parts: dict[str, float] = {}
    for tensor in arch.tensors:
        stored = PRECISIONS[precision.rest] if tensor.part in _NOT_NARROWED else precision
        if precision.recipe and tensor.part == "text_encoder_2":
            stored = PRECISIONS["gguf:q8_0"]  # what GGUF pipelines ship: 5,061 MiB with CLIP, measured
        if _is_kept_wide(tensor, precision):
            stored = PRECISIONS["fp32"]
        parts[tensor.part] = parts.get(tensor.part, 0.0) + stored.bytes_of(tensor, arch)
    return parts


def _is_kept_wide(tensor: Tensor, precision: Precision) -> bool:
    is_t5 = tensor.part == "text_encoder_2" and tensor.name == "ffn_down"
    return is_t5 and precision.matrix in ("nf4", "nf4-dq", "int8")


def diffusion_terms(
    arch: Architecture, precision: Precision, pixels: int, frames: int, images: int, offload: str
) -> list[Term]:
    """Return weights and activation peak of a text-to-image pipeline on one GPU.

    Args:
        arch: the pipeline.
        precision: of the transformer and the large text encoder.
        pixels: of one image or frame.
        frames: of a video; 1 for an image.
        images: images or videos made at once.
        offload: one of `OFFLOADS`.

    Raises:
        UnknownName: no such way to offload.
    """
    if offload not in OFFLOADS:
        raise UnknownName("offload", offload, nearest(offload, OFFLOADS) or OFFLOADS)
    parts = component_bytes(arch, precision)
    if offload == "none":
        weights, how = sum(parts.values()), "all parts loaded"
    elif offload == "model":
        weights, how = max(parts.values()), "the largest part; the others wait on the host"
    else:
        weights, how = max(parts.values()) / max(arch.main.n_layers, 1), "a layer at a time"
    gib = weights / GIB
    names = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
    loaded = Term("weights", gib, precision.error_frac * gib, f"{how}: {names} GiB", "sum over tensors")
    return [loaded, _image_peak(arch, pixels, frames, images)]


def _image_peak(arch: Architecture, pixels: int, frames: int, images: int) -> Term:
    latents = -(-frames // FRAMES_A_LATENT)
    tokens = latents * pixels / PIXELS_PER_TOKEN + TEXT_TOKENS
    denoiser = images * tokens * DENOISER_BYTES * block_bytes_per_token(arch.main) / GIB
    decoded = min(frames, FRAMES_AT_ONCE)
    decoder = images * decoded * pixels * DECODER_BYTES * decoder_width(arch) / GIB
    gib = LEFT_OVER_GIB + larger(denoiser, decoder)
    how = f"{images} x {pixels / 2**20:.2f} megapixels: the VAE's decoder or the denoiser"
    return Term("activation peak", gib, 0.25 * gib, how, "measured runs of FLUX.1-dev in bf16")


def decoder_width(arch: Architecture) -> int:
    """Return the channels of the VAE's block next to the image; 128 where the VAE is not known."""
    if arch.model_type == "pipeline":  # components of which only the size is known
        return USUAL_BLOCK
    outputs = [t.cols for t in arch.tensors if t.part == "vae" and t.rows == 1]
    return min((width for width in outputs if width >= NARROWEST_BLOCK), default=USUAL_BLOCK)


def speech_terms(arch: Architecture, precision: Precision, engine: str, kv: str, load: Load) -> list[Term]:
    """Return the terms of Whisper on one GPU.

    Args:
        arch: the model.
        precision: of the weights.
        engine: `openai-whisper`, `faster-whisper`, or a torch one.
        kv: type of the caches.
        load: windows of 30 s at once, beams and tokens of each.
    """
    batch, beams = load.concurrency, load.beams
    gib = sum(precision.bytes_of(tensor, arch) for tensor in arch.tensors) / GIB
    how = f"{arch.n_params / 1e6:.0f}M parameters in {precision.name}"
    terms = [Term("weights", gib, precision.error_frac * gib, how, "sum over tensors")]
    if engine == "openai-whisper":
        twice = LOADED_TWICE_BYTES * arch.n_params / GIB - gib
        text = "the 32-bit model beside the checkpoint while it loads"
        return [
            *terms,
            Term("load peak", max(twice, 0.0), 0.08 * gib + 0.1, text, "openai/whisper's load_model"),
        ]
    memory = memory_of(arch, kv)
    tokens = smaller(load.context, arch.max_context or SPOKEN_TOKENS)
    spoken = memory.sequence_bytes(tokens) - memory.fixed_bytes
    held = batch * (memory.fixed_bytes + beams * spoken) / GIB
    how = f"{batch} windows of 30 s, {beams} beams, at most {arch.max_context or SPOKEN_TOKENS} tokens"
    cache = Term("KV cache", held, 0.02 * held, how, "2 x layers x tokens x width, crossed once a window")
    if engine == "faster-whisper":
        buffers = "CTranslate2's buffers"
        return [*terms, cache, Term("workspace", CT2_WORKSPACE_GIB, 0.3, buffers, "one 8 GB card")]
    return [*terms, cache, _encoder_peak(arch, batch, held)]


def _encoder_peak(arch: Architecture, batch: int, held_gib: float) -> Term:
    """Return what the encoder takes above the caches, which are filled once it is done."""
    stacks = {stack.name: stack for stack in arch.stacks}
    window = next((cache.window for cache in arch.caches if cache.kind == "cross"), 1500)
    encoder = batch * window * block_bytes_per_token(stacks.get("encoder", arch.main)) / GIB
    gib = larger(encoder - held_gib, 0.0) + 0.1
    how = f"encoder of {batch} windows, above the caches that follow"
    return Term("activation peak", gib, 0.15 * gib + 0.05, how, "measured on an H100")
