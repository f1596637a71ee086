"""What weights a model's files hold, from their headers alone: no weight is read.

header.py        the words: Header, StoredTensor
reader.py        read: a path or an address
hub.py           read: `owner/name` on a model hub (asked for by name, never by itself)
layout.py        which files of a folder are the model: shards, pipelines, split sets
safetensors.py   the header of one .safetensors file
gguf.py          the header of one .gguf file
ggml_types.py    bytes of a block of each ggml type
gguf_config.py   hf_config: GGUF metadata in the words of Hugging Face configs
source.py        local files, and what holds for all sources
remote.py        files on web servers
"""

from __future__ import annotations

from rackrate.checkpoint.gguf_config import hf_config
from rackrate.checkpoint.header import Header, StoredTensor
from rackrate.checkpoint.reader import read

__all__ = ["Header", "StoredTensor", "hf_config", "read"]
