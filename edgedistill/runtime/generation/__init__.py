"""Generation: prompts in, texts out, token by token, with a subnet that may change in between.

`TextGenerator` is what applications hold. A `Text` is one generation: it asks at each token for the subnet that serves,
`moving` says whether it goes there, and its `Seat` is its place on a subnet: a lease, a `Cache`, and `Steps` that run
the graph on it.
"""

from edgedistill.runtime.generation.generator import TextGenerator
from edgedistill.runtime.generation.stream import Generated, Stream

__all__ = ["Generated", "Stream", "TextGenerator"]
