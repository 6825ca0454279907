"""Measure what training holds in memory: low-rank pairs, full matrices, and plain fine-tuning.

Claim: a stage trains r(d_in + d_out) parameters a matrix, and the peak of its process is below that of full
fine-tuning. A stage in full trains every matrix of the layers. Plain fine-tuning is transformers' own model with
everything trained, the embedding table included. Each figure is the median of three fresh processes: peak resident
memory less that before the first step, on 32 rows of 32 tokens, with random weights, for every family.

Needs: nothing
Takes: about 10 minutes
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import psutil
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks.shared import output
from edgedistill.architecture import Architecture
from edgedistill.distillation.scaling import trained_parameters
from edgedistill.supernet.model import ElasticTransformer

RANK = 16
FAMILIES = {
    "MiniLM-L6 (BERT)": Architecture(
        model_type="bert",
        layers=6,
        hidden=384,
        heads=12,
        head_size=32,
        ffn=1536,
        vocabulary=30522,
        positions=512,
        token_types=2,
        outputs=2,
        pooling="mean",
    ),
    "BERT-base": Architecture(
        model_type="bert",
        layers=12,
        hidden=768,
        heads=12,
        head_size=64,
        ffn=3072,
        vocabulary=30522,
        positions=512,
        token_types=2,
        outputs=2,
        pooling="first",
        dense="tanh",
    ),
    "RoBERTa-base": Architecture(
        model_type="roberta",
        layers=12,
        hidden=768,
        heads=12,
        head_size=64,
        ffn=3072,
        vocabulary=50265,
        positions=514,
        token_types=1,
        outputs=2,
        pooling="first",
        dense="tanh",
    ),
    "DistilBERT-base": Architecture(
        model_type="distilbert",
        layers=6,
        hidden=768,
        heads=12,
        head_size=64,
        ffn=3072,
        vocabulary=30522,
        positions=512,
        token_types=0,
        outputs=2,
        pooling="first",
        dense="relu",
    ),
}
_REPEATS = 3


KINDS = ("low_rank", "full", "plain")


def measured(family: str, kind: str) -> float:
    """Megabytes (10⁶ bytes) of one fresh process."""
    command = [sys.executable, "-m", "benchmarks.training.training_memory", family, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def trained(arch: Architecture, kind: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return the model of one kind, and its outputs [B, c] of token ids [B, L]."""
    if kind == "plain":
        sizes = {"num_hidden_layers": arch.layers, "num_attention_heads": arch.heads, "hidden_size": arch.hidden}
        named = {"vocab_size": arch.vocabulary, "max_position_embeddings": arch.positions, "num_labels": arch.outputs}
        others = {"intermediate_size": arch.ffn, "type_vocab_size": arch.token_types}
        ours = {"hidden_dim": arch.ffn, "n_layers": arch.layers, "n_heads": arch.heads, "dim": arch.hidden}
        distil = arch.model_type == "distilbert"
        config = AutoConfig.for_model(arch.model_type, **named, **(ours if distil else sizes | others))
        plain = AutoModelForSequenceClassification.from_config(config).eval()  # no dropout, as in our stages
        return plain, lambda ids: plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    model = ElasticTransformer(arch)
    model.begin_stage(RANK if kind == "low_rank" else None, torch.Generator().manual_seed(0))

    def outputs(ids: Tensor) -> Tensor:
        types = torch.zeros_like(ids) if arch.token_types else None
        found: Tensor = model(ids, torch.ones_like(ids), types, arch.full).logits
        return found

    return model, outputs


def train_some(family: str, kind: str) -> None:
    """Three steps of AdamW on the full model; print how far the peak rose."""
    model, outputs = trained(FAMILIES[family], kind)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ids = torch.randint(2, FAMILIES[family].vocabulary, (32, 32))
    before = psutil.Process().memory_info().rss
    for _ in range(3):
        outputs(ids).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((peak - before) / 1e6)


def main() -> None:
    """Measure every family in each way, interleaved, and save the table."""
    found = {}
    for family, arch in FAMILIES.items():
        peaks = [[measured(family, kind) for kind in KINDS] for _ in range(_REPEATS)]
        by_kind = dict(zip(KINDS, zip(*peaks, strict=True), strict=True))
        low, full = (trained_parameters(arch, arch.full, rank) for rank in (RANK, None))
        found[family] = {
            "low_rank_parameters_a_stage": low.matrices,
            "vectors": low.vectors,
            "head": low.head,
            "matrices_in_full": full.matrices,
            **{f"{kind}_mb": round(median(column), 1) for kind, column in by_kind.items()},
            "spread_mb": round(max(max(column) - min(column) for column in by_kind.values()), 1),
        }
        print(json.dumps({family: found[family]}), file=sys.stderr)
    output.save_result("training-memory", {"rank": RANK, "families": found})


if __name__ == "__main__":
    train_some(*sys.argv[1:])
