"""Trim a vocabulary to the tokens that the data use, and to what any other text needs to be spelt out.

The texts whose tokens are kept read the same afterwards, token for token. WordPiece takes the longest match,
and Unigram the likeliest path, among what is left: both were chosen among more before. BPE keeps every merge
on the way to a token that is kept. A decoder generates these tokens alone, and computes logits of these alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from edgedistill.errors import ModelError
from edgedistill.supernet.checkpoint import GenerationInfo, Supernet
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["trim", "trimmed"]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def trim(model: ElasticTransformer, tokenizer: Tokenizer, used: Iterable[int]) -> tuple[ElasticTransformer, Tokenizer]:
    """Return copies of both that know only the tokens ``used``, the special ones, and all single characters and bytes.

    Ids change, the order of the tokens does not. Whatever holds an id (of the padding token, say) has to look
    it up again.

    Args:
        model: in any stage; its word table becomes shorter, and a decoder's head over it.
        tokenizer: stays as it is.
        used: token ids that the data hold.

    Raises:
        ModelError: the tokenizer is of a kind that cannot be trimmed.
    """
    document = json.loads(tokenizer.to_str())
    spelling, ids = document["model"], tokenizer.get_vocab()
    kind = spelling.get("type")
    if kind not in _NEEDED:
        raise ModelError(f"a tokenizer of type {kind} cannot be trimmed; supported are {', '.join(_NEEDED)}")
    names = {index: token for token, index in ids.items()}
    tokens = {names[index] for index in used} | {entry["content"] for entry in document["added_tokens"]}
    tokens |= {token for token in ids if _is_unit(token, spelling)}
    rows = sorted(ids[token] for token in tokens | _NEEDED[kind](spelling, tokens))
    trimmed = _renumbered(document, [names[row] for row in rows], ids)
    return _with_rows(model, rows), trimmed


def trimmed(supernet: Supernet, used: Iterable[int]) -> Supernet:
    """Return the supernet with a trimmed copy of its model and tokenizer (see `trim`), and the marks of a text."""
    info, before = supernet.info, supernet.tokenizer
    model, tokenizer = trim(supernet.model, before, {*used, *_marks(info.generation, before)})
    moved = {row: tokenizer.token_to_id(token) for token, row in before.get_vocab().items()}
    generation = info.generation
    if generation is not None:
        begin = generation.bos_token_id
        ends = [moved[row] for row in generation.eos_token_ids if row in moved]
        generation = generation.model_copy(
            update={"eos_token_ids": ends, "bos_token_id": None if begin is None else moved.get(begin)}
        )
    pad = 0 if info.pad_token is None else tokenizer.token_to_id(info.pad_token)  # without one, any
    changed = {"pad_token_id": pad, "architecture": model.arch, "generation": generation}
    return replace(supernet, model=model, tokenizer=tokenizer, info=info.model_copy(update=changed))


def _marks(generation: GenerationInfo | None, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of tokens that begin or end a text; a model may name more ends than its tokenizer has."""
    if generation is None:
        return []
    named = [*generation.eos_token_ids, generation.bos_token_id]
    return [row for row in named if row is not None and tokenizer.id_to_token(row) is not None]


def _is_unit(token: str, spelling: Mapping[str, Any]) -> bool:
    """Return whether it is one character, wherever in a word, or one byte."""
    bare = token.removeprefix(spelling.get("continuing_subword_prefix") or "")
    bare = bare.removesuffix(spelling.get("end_of_word_suffix") or "")
    return len(bare) == 1 or _BYTE.fullmatch(token) is not None


def _word_piece_needs(spelling: Mapping[str, Any], tokens: set[str]) -> set[str]:  # noqa: ARG001
    return {spelling["unk_token"]}


def _unigram_needs(spelling: Mapping[str, Any], tokens: set[str]) -> set[str]:  # noqa: ARG001
    """Return the least likely piece, since an unknown character is weighed against it, and the unknown token."""
    pieces = spelling["vocab"]
    unknown = [] if spelling["unk_id"] is None else [pieces[spelling["unk_id"]][0]]
    return {min(pieces, key=lambda piece: float(piece[1]))[0], *unknown}


def _bpe_needs(spelling: Mapping[str, Any], tokens: set[str]) -> set[str]:
    """Return every token on the way to a kept one, by whichever merges, and the unknown token."""
    parts: dict[str, set[str]] = {}
    for left, right, merged in _merges(spelling):
        parts.setdefault(merged, set()).update((left, right))
    needed, waiting = set(), [*tokens, *filter(None, [spelling["unk_token"]])]
    while waiting:
        token = waiting.pop()
        if token not in needed:
            needed.add(token)
            waiting += parts.get(token, ())
    return needed


def _merges(spelling: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield left, right and what they become, in order of their rank."""
    prefix = spelling.get("continuing_subword_prefix") or ""
    for merge in spelling["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right, left + right.removeprefix(prefix)


_NEEDED: dict[str, Callable[[Mapping[str, Any], set[str]], set[str]]] = {
    "WordPiece": _word_piece_needs,
    "BPE": _bpe_needs,
    "Unigram": _unigram_needs,
}


def _renumbered(document: dict[str, Any], tokens: Sequence[str], ids: Mapping[str, int]) -> Tokenizer:
    """Return the tokenizer with these tokens alone, whose places are their new ids."""
    places = {token: place for place, token in enumerate(tokens)}
    spelling = document["model"]
    if spelling["type"] == "Unigram":
        unknown = spelling["unk_id"]
        spelling["unk_id"] = None if unknown is None else places[spelling["vocab"][unknown][0]]
        spelling["vocab"] = [piece for piece in spelling["vocab"] if piece[0] in places]
    else:
        spelling["vocab"] = {token: places[token] for token in spelling["vocab"] if token in places}
    if spelling["type"] == "BPE":
        spelling["merges"] = [[left, right] for left, right, merged in _merges(spelling) if merged in places]
    by_id = {ids[token]: place for token, place in places.items()}
    for entry in document["added_tokens"]:
        entry["id"] = by_id[entry["id"]]
    for part in ("post_processor", "padding"):
        document[part] = _with_ids(document[part], by_id)
    trimmed = Tokenizer.from_str(json.dumps(document))
    if trimmed.get_vocab() != places:
        raise ModelError("the tokenizer cannot be trimmed: its added tokens do not follow its vocabulary")
    return trimmed


def _with_ids(value: Any, by_id: Mapping[int, int]) -> Any:
    """Return a part of a tokenizer's JSON with new ids: under ``ids`` and ``pad_id``, and in pairs of token and id."""
    if isinstance(value, list):
        return [_with_ids(part, by_id) for part in value]
    if not isinstance(value, dict):
        return value
    result = {key: _with_ids(part, by_id) for key, part in value.items()}
    for key in result.keys() & {"sep", "cls"}:
        result[key][1] = by_id[result[key][1]]
    if "pad_id" in result:
        result["pad_id"] = by_id[result["pad_id"]]
    if "ids" in result:
        result["ids"] = [by_id[row] for row in result["ids"]]
    return result


def _with_rows(model: ElasticTransformer, rows: Sequence[int]) -> ElasticTransformer:
    trimmed, order = copy.deepcopy(model), torch.tensor(rows)
    word = trimmed.word_table
    word.weight = nn.Parameter(word.weight.data[order], requires_grad=False)
    word.num_embeddings = len(rows)
    if trimmed.head is not None:
        trimmed.head.keep_rows(order)
    trimmed.arch = replace(model.arch, vocabulary=len(rows))
    return trimmed
