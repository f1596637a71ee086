"""How much work is one pass of a denoiser, and the rest of a pipeline, for an image of a given size?

Not every tensor meets every token. The time step passes through its own layers once; in FLUX and SD 3 image
and text have tensors of their own until they are joined; in a UNet the image shrinks by 2 at every
`downsample`. The catalog writes tensors in the order of the model, so that walking along them says which
tokens a tensor meets.

Source: the classes of diffusers 0.42 that `rackrate.catalog.architecture.denoisers` names.
Error: checked against counts made elsewhere: SDXL 5.98 TFLOP and SD 1.5 0.80 TFLOP a pass, FLUX 74 a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.perf.flop import Work, attention, encoder_pass, product, products

LATENT_SCALE = 8  # pixels along one side of a latent's point
PATCH_SCALE = 16  # of a transformer's token: patches of 2 x 2 latent points
CLIP_TOKENS, T5_TOKENS = 77, 512
UNET_SHARE = 0.1  # of a UNet's parameters that a latent point meets: SD 1.5 0.114, SDXL 0.071

_CLOCKS = ("time_in", "vector_in", "time_embed", "label_emb", "time_emb_proj", "double_mod", "single_mod")


@cache
def denoiser_pass(arch: Architecture, pixels: int) -> Work:
    """Return the work of one pass of the denoiser over one image.

    Args:
        arch: a pipeline.
        pixels: of the image.
    """
    tensors = [t for t in arch.tensors if t.part in ("unet", "transformer")]
    if arch.model_type == "flux":
        return _flux(arch, tensors, pixels / PATCH_SCALE**2)
    if arch.model_type == "stable_diffusion_3":
        return _sd3(arch, tensors, pixels / PATCH_SCALE**2)
    if any(t.name == "downsample" for t in tensors):
        return _unet(tensors, pixels / LATENT_SCALE**2)
    tokens = pixels / PATCH_SCALE**2
    if any(t.part == "unet" for t in tensors):
        return products(tensors, UNET_SHARE * pixels / LATENT_SCALE**2)
    layers = attention(arch.main.n_layers, tokens, tokens, arch.main.hidden_size)
    return products(tensors, tokens) + layers


@cache
def launched_layers(arch: Architecture) -> float:
    """Return the layers that the host launches for a pass, of a transformer; a residual block is half one."""
    n_blocks = sum(t.count for t in arch.tensors if t.part == "unet" and t.name == "conv1")
    return arch.main.n_layers + 0.5 * n_blocks


@cache
def pipeline_rest(arch: Architecture, pixels: int) -> Work:
    """Return the work that an image takes once: its prompt's encoders and the VAE's decoder."""
    found = _decoder([t for t in arch.tensors if t.part == "vae"], pixels / LATENT_SCALE**2)
    for stack in arch.stacks[1:]:
        tokens = T5_TOKENS if stack.is_gated else CLIP_TOKENS
        found += encoder_pass(arch, stack.name, stack.name, tokens)
    return found


def _flux(arch: Architecture, tensors: list[Tensor], image: float) -> Work:
    """Two streams, one for the image and one for the text, and then one for both."""
    main, both = arch.main, image + T5_TOKENS
    found = attention(main.n_layers, both, both, main.hidden_size)
    met = both / 2  # each of the two streams' tensors is counted twice
    for tensor in tensors:
        if tensor.name == "single_mod":
            met = both
        found += product(tensor, _met(tensor, {"img_in": image, "img_out": image, "txt_in": T5_TOKENS}, met))
    return found


def _sd3(arch: Architecture, tensors: list[Tensor], image: float) -> Work:
    """The image's stream, the text's, the text's last attention, and the image's attention to itself."""
    main, text = arch.main, float(T5_TOKENS // 2 + CLIP_TOKENS)
    both = image + text
    found = attention(main.n_layers, both, both, main.hidden_size)
    streams = iter((image, text, text, image))
    met = image
    for tensor in tensors:
        if tensor.name == "mod":
            met = next(streams)
        found += product(tensor, _met(tensor, {"img_in": image, "img_out": image, "txt_in": text}, met))
    return found


def _unet(tensors: list[Tensor], latent: float) -> Work:
    """Down to the smallest image and up again; keys and values of the text meet the text alone."""
    found = Work()
    for tensor, points in _along(tensors, latent, down="downsample", up="upsample"):
        text = {"cross_attn_k": float(CLIP_TOKENS), "cross_attn_v": float(CLIP_TOKENS)}
        found += product(tensor, _met(tensor, text, points))
        if tensor.name in ("attn_q", "cross_attn_q"):
            keys = points if tensor.name == "attn_q" else CLIP_TOKENS
            found += attention(tensor.count, points, keys, tensor.rows)
    return found


def _decoder(tensors: list[Tensor], latent: float) -> Work:
    """The decoder of a VAE; the layers in the middle stand last and serve the encoder as well."""
    found, is_decoder, points = Work(), False, latent
    for tensor in tensors:
        is_decoder = is_decoder or tensor.name == "decoder_conv_in"
        if not is_decoder:
            continue
        if tensor.name == "resample":
            points *= 4
        found += product(tensor, points)
        if tensor.name == "decoder_conv_out":
            break
    return found


def _along(tensors: list[Tensor], points: float, *, down: str, up: str) -> Iterator[tuple[Tensor, float]]:
    """Give each tensor with the points of the image where it stands."""
    for tensor in tensors:
        if tensor.name == down:
            points /= 4
        elif tensor.name == up:
            points *= 4
        yield tensor, points


def _met(tensor: Tensor, special: dict[str, float], usual: float) -> float:
    """Return the tokens that a tensor meets: one for what the time step passes through."""
    if tensor.name.startswith(_CLOCKS) or tensor.name in ("output_mod", "mod"):
        return 1.0
    return special.get(tensor.name, usual)
