"""The autoencoders of diffusion pipelines, which turn pixels into latents and back.

    AutoencoderKL            2-D convolutions, attention in the middle
    AutoencoderKLCogVideoX   3-D convolutions; the decoder's norms look at the latent

Source: `Encoder`, `Decoder`, `UNetMidBlock2D`, `CogVideoXEncoder3D`, `CogVideoXDecoder3D` of diffusers 0.42.
"""

from __future__ import annotations

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.errors import BadQuantity

AREA, VOLUME = 9, 27  # taps of a 3 x 3 and a 3 x 3 x 3 kernel


def widths_of(config: Config) -> list[int]:
    """Return the channels of the blocks, from the image to the latent.

    Raises:
        BadQuantity: there are none.
    """
    widths = config.numbers("block_out_channels")
    if not widths or min(widths) < 1:
        raise BadQuantity(f"{config.where}: `block_out_channels` names no blocks")
    return widths


def write_resnet(sheet: Sheet, n_in: int, n_out: int, taps: int = AREA, time_size: int = 0) -> None:
    """Write two normalised convolutions and, where the width changes, a shortcut.

    Args:
        sheet: what it is written to.
        n_in: channels in.
        n_out: channels out.
        taps: points of the kernels.
        time_size: width of the time step that is projected into it; 0 when it is not told the time.
    """
    sheet.norm("norm1", n_in, "layer")
    sheet.conv("conv1", n_in, n_out, taps)
    if time_size:
        sheet.matrix("time_emb_proj", "mlp", time_size, n_out, bias=True)
    sheet.norm("norm2", n_out, "layer")
    sheet.conv("conv2", n_out, n_out, taps)
    if n_in != n_out:
        sheet.conv("shortcut", n_in, n_out, 1)


def write_kl(config: Config, sheet: Sheet) -> None:
    """Write encoder and decoder of `AutoencoderKL`, and its two 1 x 1 convolutions where it has them."""
    n_in, n_latent = config.count("in_channels"), config.count("latent_channels")
    widths, n_resnets = widths_of(config), config.count("layers_per_block", least=1)
    first, last = widths[0], widths[-1]
    sheet.conv("encoder_conv_in", n_in, first, AREA)
    _sampling(sheet, widths, n_resnets, AREA)
    sheet.norm("encoder_norm_out", last, "layer")
    sheet.conv("encoder_conv_out", last, 2 * n_latent, AREA)  # mean and variance
    sheet.conv("decoder_conv_in", n_latent, last, AREA)
    _sampling(sheet, widths[::-1], n_resnets + 1, AREA)
    sheet.norm("decoder_norm_out", first, "layer")
    sheet.conv("decoder_conv_out", first, n_in, AREA)
    both = sheet.times(2)
    write_resnet(both.times(2), last, last)
    both.norm("mid_attn_norm", last, "layer")
    both.times(4).matrix("mid_attn", "attention", last, last, bias=True)
    if config.flag("use_quant_conv"):
        sheet.conv("quant_conv", 2 * n_latent, 2 * n_latent, 1)
    if config.flag("use_post_quant_conv"):
        sheet.conv("post_quant_conv", n_latent, n_latent, 1)


def write_cogvideox(config: Config, sheet: Sheet) -> None:
    """Write encoder and decoder of `AutoencoderKLCogVideoX`."""
    n_in, n_latent = config.count("in_channels"), config.count("latent_channels")
    widths, n_resnets = widths_of(config), config.count("layers_per_block", least=1)
    first, last = widths[0], widths[-1]
    sheet.conv("encoder_conv_in", n_in, first, VOLUME)
    _sampling(sheet, widths, n_resnets, VOLUME)
    write_resnet(sheet.times(2), last, last, VOLUME)
    sheet.norm("encoder_norm_out", last, "layer")
    sheet.conv("encoder_conv_out", last, 2 * n_latent, VOLUME)
    sheet.conv("decoder_conv_in", n_latent, last, VOLUME)
    write_resnet(sheet.times(2), last, last, VOLUME)
    _sampling(sheet, widths[::-1], n_resnets + 1, VOLUME)
    sheet.norm("decoder_norm_out", first, "layer")
    sheet.conv("decoder_conv_out", first, n_in, VOLUME)
    # Each norm of the decoder is scaled and shifted by two projections of the latent.
    steps = [(last, last)] * 2 + _steps(widths[::-1], n_resnets + 1)
    for width in [size for step in steps for size in step] + [first]:
        sheet.times(2).conv("norm_latent", n_latent, width, 1)


def _steps(widths: list[int], n_resnets: int) -> list[tuple[int, int]]:
    """Return channels in and out of each residual block of one side."""
    steps, previous = [], widths[0]
    for width in widths:
        steps += [(previous, width), *[(width, width)] * (n_resnets - 1)]
        previous = width
    return steps


def _sampling(sheet: Sheet, widths: list[int], n_resnets: int, taps: int) -> None:
    """Write the blocks of one side; all but the last end in a resampling 3 x 3 convolution."""
    for n_in, n_out in _steps(widths, n_resnets):
        write_resnet(sheet, n_in, n_out, taps)
    for width in widths[:-1]:
        sheet.conv("resample", width, width, AREA)
