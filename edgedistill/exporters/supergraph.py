"""What subnets' graphs are made of: the embeddings, one layer and the head as one ONNX graph, exported once.

Layers are alike but for their weights, so surgery repeats the one: torch's exporter takes a third of a second for
each. Weights are names, not values: each initializer is called as the supernet's tensor is
(`layers.0.query.weight`), matrices [in, out], as MatMul wants them, and of some small size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import onnx
import torch
from optimum.utils import DummyTextInputGenerator, NormalizedConfigManager
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig

from edgedistill.errors import ExportError
from edgedistill.subnet import Architecture
from edgedistill.supernet.encoder import answer, masked_bias

__all__ = ["OPSET", "OUTPUT", "export_supergraph", "graph_inputs", "transposed"]

OUTPUT = "logits"
OPSET = 20  # the first with Gelu as one operator


def graph_inputs(arch: Architecture) -> tuple[str, ...]:
    """Names of a graph's inputs, each [batch, sequence] int64, in the order of the encoder's arguments."""
    return ("input_ids", "attention_mask", *(("token_type_ids",) if arch.token_types else ()))


def transposed(name: str, tensor: Tensor) -> Tensor:
    """The tensor as the graph holds it: linear weights [in, out], everything else as it is."""
    is_linear = tensor.ndim == 2 and not name.startswith("embeddings.")
    return tensor.T.contiguous() if is_linear else tensor.contiguous()


class _Linear(nn.Module):
    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(columns, rows))
        self.bias = nn.Parameter(torch.empty(rows))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class _Embeddings(nn.Module):
    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        self.word = nn.Embedding(arch.vocabulary, arch.hidden)
        self.position = nn.Embedding(arch.positions, arch.hidden)
        self.token_type = nn.Embedding(arch.token_types, arch.hidden) if arch.token_types else None
        self.norm = nn.LayerNorm(arch.hidden, eps)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        summed = self.word(input_ids) + self.position(torch.arange(input_ids.shape[1]))
        if self.token_type is not None:
            summed = summed + self.token_type(token_type_ids)
        normed: Tensor = self.norm(summed)
        return normed


class _Layer(nn.Module):
    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        d, inner = arch.hidden, arch.heads * arch.head_size
        self.head_size = arch.head_size
        self.query, self.key, self.value = _Linear(d, inner), _Linear(d, inner), _Linear(d, inner)
        self.attention_output = _Linear(inner, d)
        self.attention_norm = nn.LayerNorm(d, eps)
        self.ffn_up, self.ffn_down = _Linear(d, arch.ffn), _Linear(arch.ffn, d)
        self.ffn_norm = nn.LayerNorm(d, eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (self._split(linear(x)) for linear in (self.query, self.key, self.value))
        weights = (q @ k.transpose(2, 3) * self.head_size**-0.5 + bias).softmax(-1)
        context = (weights @ v).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.attention_output(context))
        normed: Tensor = self.ffn_norm(x + self.ffn_down(F.gelu(self.ffn_up(x))))
        return normed

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_size).transpose(1, 2)


class _Encoder(nn.Module):
    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        self.arch = arch
        self.embeddings = _Embeddings(arch, eps)
        self.layers = nn.ModuleList([_Layer(arch, eps)])
        self.dense = _Linear(arch.hidden, arch.hidden) if arch.dense else None
        self.classifier = _Linear(arch.hidden, arch.outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        x = self.embeddings(input_ids, token_type_ids)
        (layer,) = self.layers
        x = layer(x, masked_bias(attention_mask, x.dtype))
        return answer(self.arch, x, attention_mask, self.dense, self.classifier)


def export_supergraph(arch: Architecture, eps: float) -> onnx.ModelProto:
    """An encoder of one small layer, with dynamic batch and sequence, its weights named as ours and of no meaning.

    Of ``arch`` it has what surgery does not set: the inputs, the head's kind, the head size, positions and outputs.

    Raises:
        ExportError: torch's exporter failed.
    """
    batch, sequence = (
        torch.export.Dim("batch", min=1, max=4096),
        torch.export.Dim("sequence", min=1, max=arch.positions),
    )
    small = replace(arch, layers=1, hidden=12, heads=2, ffn=20, vocabulary=64)
    with _quiet():
        try:
            program = torch.onnx.export(
                _random(_Encoder(small, eps)).eval(),
                _example(small),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph_inputs(arch)),
                output_names=[OUTPUT],
                dynamic_shapes=tuple({0: batch, 1: sequence} for _ in graph_inputs(arch)),
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise ExportError(f"torch could not export the encoder: {str(error).splitlines()[0]}") from error
    assert program is not None
    model = program.model_proto
    assert isinstance(model, onnx.ModelProto)
    return model


def _random(module: _Encoder) -> _Encoder:
    """No two tensors alike: the exporter would make one initializer of both, under one of their names."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    return module


def _example(arch: Architecture) -> tuple[Tensor, ...]:
    """Example inputs [2, 16] with ids inside the vocabulary."""
    config = AutoConfig.for_model(arch.model_type, vocab_size=arch.vocabulary, type_vocab_size=arch.token_types)
    normal = NormalizedConfigManager.get_normalized_config_class(arch.model_type)(config)
    generator = DummyTextInputGenerator("text-classification", normal, batch_size=2, sequence_length=16)
    return tuple(generator.generate(name, framework="pt") for name in graph_inputs(arch))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's log lines and its own deprecation warnings."""
    logger = logging.getLogger("torch.onnx")  # noqa: TID251 (not ours)
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)
