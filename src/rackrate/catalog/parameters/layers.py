"""How many parameters a building block has: the sums that every architecture is made of.

A dense layer from `a` to `b` features has a weight of a x b and, where it has one, a bias of b; the
rest follows. Widths are counts of features, all results counts of parameters.

Source: the classes of transformers 5.23 and diffusers named in each function.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def linear(n_in: int, n_out: int, *, bias: bool = True) -> int:
    """Return the parameters of a dense layer (torch `nn.Linear`)."""
    return n_in * n_out + (n_out if bias else 0)


def conv(n_in: int, n_out: int, taps: int, *, bias: bool = True) -> int:
    """Return the parameters of a convolution whose kernel has `taps` points (torch `nn.ConvNd`)."""
    return linear(n_in * taps, n_out, bias=bias)


def layer_norm(width: int) -> int:
    """Return the parameters of a LayerNorm or GroupNorm: scale and shift (an RMSNorm: `width`)."""
    return 2 * width


def gated_mlp(width: int, inner: int, *, bias: bool = False) -> int:
    """Return the parameters of a SwiGLU or GeGLU block: gate, up and down (`LlamaMLP`)."""
    return 2 * linear(width, inner, bias=bias) + linear(inner, width, bias=bias)


def mlp(width: int, inner: int) -> int:
    """Return the parameters of a plain feed-forward block with biases (`CLIPMLP`, `BertOutput`)."""
    return linear(width, inner) + linear(inner, width)


def grouped_attention(width: int, q_width: int, kv_width: int, *, qkv_bias: bool = False) -> int:
    """Return the parameters of grouped-query attention, output without bias (`LlamaAttention`).

    Args:
        width: features of the residual stream.
        q_width: query heads x head size.
        kv_width: key heads x head size.
        qkv_bias: whether query, key and value have biases (`Qwen2Attention`).
    """
    qkv = linear(width, q_width, bias=qkv_bias) + 2 * linear(width, kv_width, bias=qkv_bias)
    return qkv + linear(q_width, width, bias=False)


def encoder_layer(width: int, inner: int) -> int:
    """Return the parameters of a classic layer: full attention, MLP, two LayerNorms, all biased.

    Source: `BertLayer`, `CLIPEncoderLayer`, `SiglipEncoderLayer`, `Qwen3VLVisionBlock` (whose one
    fused projection has the same sum).
    """
    return 4 * linear(width, width) + mlp(width, inner) + 2 * layer_norm(width)


def autoencoder(n_in: int, n_latent: int, widths: Sequence[int], resnets_per_block: int) -> tuple[int, int]:
    """Return the parameters of encoder and decoder of a convolutional VAE without quant layers.

    Args:
        n_in: channels of the image.
        n_latent: channels of the latent; the encoder gives mean and variance, so twice as many.
        widths: channels of the blocks, from the image to the latent.
        resnets_per_block: of the encoder; the decoder has one more.

    Source: diffusers `AutoencoderKL` (`Encoder`, `Decoder`, `UNetMidBlock2D`).
    """
    first, last = widths[0], widths[-1]
    attention = layer_norm(last) + 4 * linear(last, last)
    middle = 2 * _resnet(last, last) + attention
    down = conv(n_in, first, 9) + _blocks(widths, resnets_per_block)
    up = conv(n_latent, last, 9) + _blocks(widths[::-1], resnets_per_block + 1)
    encoder = down + middle + layer_norm(last) + conv(last, 2 * n_latent, 9)
    decoder = up + middle + layer_norm(first) + conv(first, n_in, 9)
    return encoder, decoder


def _blocks(widths: Sequence[int], resnets: int) -> int:
    """Count the blocks of one side; all but the last end in a resampling convolution."""
    steps = [(widths[0], widths[0]), *pairwise(widths)]
    inside = sum(_resnet(a, b) + (resnets - 1) * _resnet(b, b) for a, b in steps)
    return inside + sum(conv(width, width, 9) for width in widths[:-1])


def _resnet(n_in: int, n_out: int) -> int:
    """Count two normalised 3 x 3 convolutions and, where the width changes, a 1 x 1 shortcut."""
    shortcut = conv(n_in, n_out, 1) if n_in != n_out else 0
    convolutions = conv(n_in, n_out, 9) + conv(n_out, n_out, 9)
    return layer_norm(n_in) + layer_norm(n_out) + convolutions + shortcut
