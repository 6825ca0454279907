"""Quality of a subnet, computed by torch."""

from __future__ import annotations

import torch
from sklearn.metrics import accuracy_score
from torch.nn import functional as F

from edgedistill.distillation.batches import Encoded, sorted_batches
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder

__all__ = ["Score", "evaluate"]

_BATCH = 64


class Score:
    """Accuracy (0 to 1) and mean cross-entropy of a subnet on some rows."""

    def __init__(self, accuracy: float, loss: float, examples: int) -> None:
        self.accuracy = accuracy
        self.loss = loss
        self.examples = examples


@torch.no_grad()
def evaluate(model: ElasticEncoder, subnet: SubnetConfig, data: Encoded) -> Score:
    """Run every row once, without dropout."""
    model.eval()
    predicted: list[int] = []
    wanted: list[int] = []
    loss = 0.0
    for batch in sorted_batches(data, _BATCH):
        logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, subnet).logits
        loss += float(F.cross_entropy(logits, batch.labels, reduction="sum"))
        predicted += logits.argmax(-1).tolist()
        wanted += batch.labels.tolist()
    return Score(float(accuracy_score(wanted, predicted)), loss / len(wanted), len(wanted))
