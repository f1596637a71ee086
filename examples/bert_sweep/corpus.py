"""From texts to token ids: a corpus of one's own or the bundled grammar, and a WordPiece vocabulary of it.

Texts come from Parquet (a column named `text`, `claims` or `abstract`), JSONL (such a key), or plain text
(a document a line); from a file, a folder, or `s3://bucket/prefix`, whose address and keys obstore takes
from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...). The ids are written once, below the folder
for temporary files, and read by every trial on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from claims import patents

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
_COLUMNS = ("text", "claims", "abstract")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Corpus:
    """Token ids of texts one after the other, [SEP] between them.

    Attributes:
        train: to learn from.
        held_out: texts that are not in `train`.
        n_words: size of the vocabulary.
        tokenizer: `wordpiece`, or `words` where the package tokenizers is missing.
    """

    train: torch.Tensor
    held_out: torch.Tensor
    n_words: int
    tokenizer: str


def prepared(source: str = "", n_texts: int = 2000, n_words: int = 1024, seed: int = 0) -> Corpus:
    """Return a corpus; made when it is first asked for, then read.

    Args:
        source: file, folder or `s3://` prefix; empty for the bundled grammar.
        n_texts: at most so many texts.
        n_words: size of the vocabulary.
        seed: of the grammar and of the choice of held-out texts.
    """
    key = hashlib.sha256(json.dumps([source, n_texts, n_words, seed]).encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(os.environ.get("BERT_SWEEP_CACHE", Path("/tmp") / f"bert-sweep-{user}"))  # noqa: S108
    path = folder / f"{key}.pt"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = _made(texts(source, n_texts, seed), n_words)
        new = path.with_suffix(f".{os.getpid()}")
        torch.save(made, new)
        new.replace(path)
    return Corpus(**torch.load(path, weights_only=True))


def _made(found: list[str], n_words: int) -> dict[str, Any]:
    n_held_out = max(len(found) // 10, 1)
    if len(found) <= n_held_out:
        raise ValueError(f"a corpus of {len(found)} texts is too small: 2 or more are needed")
    try:
        ids, n, name = *_wordpiece(found, n_words), "wordpiece"
    except ImportError:
        ids, n, name = *_words(found, n_words), "words"
    joined = [torch.tensor([*one, SEP]) for one in ids]
    held_out, train = torch.cat(joined[:n_held_out]), torch.cat(joined[n_held_out:])
    return {"train": train, "held_out": held_out, "n_words": n, "tokenizer": name}


def _wordpiece(found: list[str], n_words: int) -> tuple[list[list[int]], int]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: PLC0415 - optional

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=n_words, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(found, trainer)
    return [one.ids for one in tokenizer.encode_batch(found)], tokenizer.get_vocab_size()


def _words(found: list[str], n_words: int) -> tuple[list[list[int]], int]:
    split = [_WORD.findall(text.lower()) for text in found]
    counted = Counter(word for words in split for word in words)
    vocabulary = [*SPECIAL, *(word for word, _ in counted.most_common(n_words - len(SPECIAL)))]
    number = {word: place for place, word in enumerate(vocabulary)}
    return [[number.get(word, UNK) for word in words] for words in split], len(vocabulary)


def texts(source: str, n_texts: int, seed: int) -> list[str]:
    """Return the texts of a source."""
    if not source:
        return patents(n_texts, seed)
    with tempfile.TemporaryDirectory() as folder:
        where = _fetched(source, Path(folder)) if source.startswith("s3://") else Path(source)
        paths = sorted(where.rglob("*")) if where.is_dir() else [where]
        found = (text for path in paths if path.is_file() for text in _read(path))
        kept = [text for text, _ in zip(found, range(n_texts), strict=False)]
    if not kept:
        raise ValueError(f"{source} has no texts: give Parquet, JSONL or plain text")
    return kept


def _read(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    with path.open(encoding="utf-8") as lines:
        for line in filter(None, map(str.strip, lines)):
            yield _of(path, json.loads(line)) if path.suffix == ".jsonl" else line


def _of(path: Path, row: dict[str, Any]) -> str:
    for column in _COLUMNS:
        if column in row:
            return str(row[column])
    raise ValueError(f"{path}: none of {', '.join(_COLUMNS)} is in {', '.join(row)}")


def _parquet(path: Path) -> list[str]:
    import duckdb  # noqa: PLC0415 - only who brings Parquet needs it

    with duckdb.connect() as con:
        table = con.execute("SELECT * FROM read_parquet(?) LIMIT 0", [str(path)])
        names = [column[0] for column in table.description or ()]
        column = next((name for name in _COLUMNS if name in names), None)
        if column is None:
            raise ValueError(f"{path}: none of {', '.join(_COLUMNS)} is in {', '.join(names)}")
        query = f"SELECT {column} FROM read_parquet(?) WHERE {column} IS NOT NULL"  # noqa: S608 - one of three
        return [row[0] for row in con.execute(query, [str(path)]).fetchall()]


def _fetched(source: str, folder: Path) -> Path:
    """Download the objects below an `s3://` prefix into a folder."""
    from obstore.store import S3Store  # noqa: PLC0415 - only who brings S3 needs it

    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    store = S3Store(bucket, client_options={"allow_http": True})
    for batch in store.list(prefix or None):
        for entry in batch:
            path = folder / entry["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(store.get(entry["path"]).bytes()))
    return folder
