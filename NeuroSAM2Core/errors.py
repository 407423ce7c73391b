"""The errors a person can cause and mend.

One base class, one class per cause. The message says what is wrong, what was got and what was expected; the hint says what the
person can do next. Broken invariants of our own code are `assert`, not these. Every package may raise them; the command line and the
user interfaces show them as one sentence.
"""

MAX_MESSAGE, MAX_HINT = 1500, 400
"""Letters: a damaged file may hold a name of thousands, and a message quotes it."""


class NeuroSAM2Error(Exception):
    """A mistake with a cause that can be named.

    Args:
        message: What is wrong: what was got, what was expected.
        hint: What the person can do next; empty where the message already says it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = _shortened(message, MAX_MESSAGE), _shortened(hint, MAX_HINT)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def _shortened(text: str, limit: int) -> str:
    """The text, without its middle where it is too long."""
    if len(text) <= limit:
        return text
    return f"{text[: 2 * limit // 3]} [...] {text[-(limit // 4) :]}"


class ConfigError(NeuroSAM2Error):
    """A setting that cannot be used: unknown, of the wrong kind or out of range."""


class GeometryError(NeuroSAM2Error):
    """A volume whose shape or matrix cannot be worked with, or a place outside it."""


class PromptError(NeuroSAM2Error):
    """A point, box or mask that does not fit the slice it was placed on."""


class CheckpointError(NeuroSAM2Error):
    """A model file that is missing, damaged, unsafe or of another architecture."""


class DataError(NeuroSAM2Error):
    """A file that is missing, unreadable, unwritable or does not hold what it should."""


class DownloadError(NeuroSAM2Error):
    """A model file that could not be fetched or did not verify."""


class ProtocolError(NeuroSAM2Error):
    """Bytes that are no message of ours, or a message that does not say what it must."""


class WorkerError(NeuroSAM2Error):
    """A worker that cannot be started, cannot be reached, has ended or does not have enough memory for what is asked."""


OUT_OF_MEMORY = (
    "out of memory",  # CUDA's and MPS's allocators
    "invalid buffer size",  # MPS, for one tensor that is too large
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuBLAS, cuDNN, cuFFT
    "bad_alloc",
    "bad allocation",  # the same on Windows
)
"""How allocators report that memory is exhausted, where they have no class of error of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """The device or the machine ran out of memory: the same may be possible with less at a time."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)


class Cancelled(Exception):  # noqa: N818  (not an error: the person asked for it)
    """Work ended because the person asked for it; what was done until then stays."""


def last_line(error: Exception) -> str:
    """The last line that an error of a library says anything in: after the place in its sources comes the reason."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else str(error)
