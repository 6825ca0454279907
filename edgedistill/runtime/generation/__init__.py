"""Generation: prompts in, texts out, token by token, with a subnet that may change in between.

`TextGenerator` is the public class. An `ActiveText` is one generation. At each token it looks up the active subnet, and
`migration` decides whether to move there. Its `CacheSlot` holds a lease on a subnet, a `Cache`, and a `StepRunner` that
runs the step graph on that cache.
"""

from edgedistill.runtime.generation.generator import TextGenerator
from edgedistill.runtime.generation.stream import Generated, Stream

__all__ = ["Generated", "Stream", "TextGenerator"]
