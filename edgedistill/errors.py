"""Define every error that EdgeDistill raises on purpose.

EdgeDistillError
├── InputError              the user's input cannot be used
│   ├── ModelError          a model folder or id: missing, unreadable, unsupported
│   ├── DataError           a data file or column: missing, empty, malformed
│   ├── RecipeError         a recipe: an unknown key, an impossible value
│   ├── BoardError          a board name or TOML
│   └── SearchError         no subnet meets the requirements
├── CheckpointError         a supernet checkpoint: missing, damaged, of another version
├── TrainingError           training cannot go on (a loss that is not a number)
├── ExportError             a graph could not be made, or disagrees with torch
├── PaletteError            a palette: missing, damaged, of another version
├── OnnxruntimeMissing      no onnxruntime can be imported
├── TrainingSideMissing     a package that only a workstation needs cannot be imported
├── LoadError               a subnet's session could not be created
├── RunError                no subnet gave a usable answer to a request
│   └── GenerationError     no subnet can go on with a text
├── RemoteError             a board over SSH: not reached, not fit for the work, or the work failed there
└── SessionClosed           a call on a session after close(), or on a text after a fork

A message is one line: what was wrong, what was expected, what to do. What it quotes of a palette, a board or a file
cannot steer a terminal or forge a line of a log.
"""

from edgedistill.printable import printable

__all__ = [
    "BoardError",
    "CheckpointError",
    "DataError",
    "EdgeDistillError",
    "ExportError",
    "GenerationError",
    "InputError",
    "LoadError",
    "ModelError",
    "OnnxruntimeMissing",
    "PaletteError",
    "RecipeError",
    "RemoteError",
    "RunError",
    "SearchError",
    "SessionClosed",
    "TrainingError",
    "TrainingSideMissing",
]


class EdgeDistillError(Exception):
    """The root of the tree: catch it to catch everything of ours."""

    def __str__(self) -> str:
        """Return the message in one line, with escapes for what does not show itself."""
        return printable(" ".join(super().__str__().split()))


class InputError(EdgeDistillError):
    """The user's input cannot be used."""


class ModelError(InputError):
    """A model is missing, unreadable or of an unsupported type."""


class DataError(InputError):
    """Data are missing, empty, malformed or unfit for the task."""


class RecipeError(InputError):
    """A recipe has an unknown key, or a value that this model cannot have."""


class BoardError(InputError):
    """A board is unknown, or its TOML is malformed."""


class SearchError(InputError):
    """No subnet meets the requirements, or there are too few measurements."""


class CheckpointError(EdgeDistillError):
    """A supernet checkpoint is missing, damaged or of another version."""


class TrainingError(EdgeDistillError):
    """Training cannot go on."""


class ExportError(EdgeDistillError):
    """A subnet could not be exported, or its graph disagrees with torch."""


class PaletteError(EdgeDistillError):
    """A palette is missing, damaged or of another version."""


class OnnxruntimeMissing(EdgeDistillError):
    """No onnxruntime can be imported."""


class TrainingSideMissing(EdgeDistillError):
    """A package that only a workstation needs cannot be imported."""


class LoadError(EdgeDistillError):
    """A subnet's session could not be created."""


class RunError(EdgeDistillError):
    """No subnet gave a usable answer: its run failed, or its numbers are not finite."""


class GenerationError(RunError):
    """No subnet could go on with a text."""


class RemoteError(EdgeDistillError):
    """A board could not be reached over SSH, is not fit for the work, or the work failed there."""


class SessionClosed(EdgeDistillError):
    """The session was closed before this call."""
