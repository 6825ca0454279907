"""Read llama2.c's tokenizer files as a tokenizer of `tokenizers`.

The file is an int32, the length of the longest piece, then for each id its score (fp32), its length in bytes
(int32) and its bytes, little-endian; a piece holds spaces as they are. Ids 0, 1 and 2 are unknown, begin and end
of text; 3 to 258 are the single bytes, for characters that have no piece. To encode, a text gets a space before
it, is split into characters, and the neighbours whose union has the best score become one until none has one.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from edgedistill.errors import ModelError

__all__ = ["BEGIN", "END", "load_llama2c_tokenizer"]

BEGIN, END = 1, 2
_SPECIAL = {0: "<unk>", BEGIN: "<s>", END: "</s>"}
_ENTRY = struct.Struct("<fi")
_FIRST_PIECE = 259


def load_llama2c_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """Load a tokenizer that begins every text with id 1, and leaves out the special ids when it decodes.

    Args:
        path: the file.
        vocabulary: how many entries it has to have.

    Raises:
        ModelError: the file cannot be read, or does not hold them.
    """
    try:
        entries = _entries(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a llama2.c tokenizer file, or is cut short") from error
    if len(entries) != vocabulary or vocabulary < _FIRST_PIECE:
        raise ModelError(f"{path} has {len(entries)} entries; the model's vocabulary has {vocabulary}")
    return _tokenizer(entries)


def _entries(data: bytes) -> list[tuple[str, float]]:
    """Return each id's piece and score."""
    pairs, offset = [], 4
    while offset < len(data):
        score, length = _ENTRY.unpack_from(data, offset)
        offset += _ENTRY.size
        if not 0 <= length <= len(data) - offset:
            raise struct.error
        pairs.append((data[offset : offset + length].decode("utf-8"), score))
        offset += length
    return [(_SPECIAL.get(index, piece), score) for index, (piece, score) in enumerate(pairs)]


def _tokenizer(entries: list[tuple[str, float]]) -> Tokenizer:
    ids = {piece: index for index, (piece, _) in enumerate(entries)}
    model = BPE(ids, _merges(entries, ids), unk_token=_SPECIAL[0], byte_fallback=True, fuse_unk=False)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in _SPECIAL.values()])
    begin = _SPECIAL[BEGIN]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, BEGIN)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _merges(entries: list[tuple[str, float]], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Return every pair of pieces whose union is a piece, those of the best score first."""
    pieces = sorted(entries[_FIRST_PIECE:], key=lambda entry: -entry[1])
    names = {piece for piece, index in ids.items() if index >= _FIRST_PIECE}
    return [
        (piece[:cut], piece[cut:])
        for piece, _ in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in names and piece[cut:] in names
    ]
