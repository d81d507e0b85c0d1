"""The errors a user may meet: each says what was found, what was expected and what to do."""

from __future__ import annotations


class CpcnnError(Exception):
    """An error with a message and a suggestion for people, a code and an exit code for machines."""

    code = "internal"
    exit_code = 1

    def __init__(self, message: str, *, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion

    def __str__(self) -> str:
        return f"{self.message} {self.suggestion}".rstrip()


class UsageError(CpcnnError):
    """An option, argument or call that cannot be meant."""

    code = "usage"
    exit_code = 2


class ShapeError(UsageError):
    """Shapes that do not fit; containers prepend their children's names as the error passes."""

    code = "shape"

    def __init__(self, message: str, *, suggestion: str = "", path: str = "") -> None:
        super().__init__(message, suggestion=suggestion)
        self.path = path

    def within(self, name: str) -> ShapeError:
        """Return the same error seen from the container that calls the failing layer `name`."""
        path = f"{name}.{self.path}" if self.path else name
        return type(self)(self.message, suggestion=self.suggestion, path=path)

    def __str__(self) -> str:
        text = super().__str__()
        return f"layer {self.path!r}: {text}" if self.path else text


class DataError(CpcnnError):
    """A folder or image that training or evaluation cannot use."""

    code = "data"
    exit_code = 3


class DeviceError(CpcnnError):
    """A device that is unknown, missing or unusable."""

    code = "device"
    exit_code = 4


class DeviceMemoryError(DeviceError):
    """A device has no memory left for an array."""

    code = "device-memory"


class CheckpointError(CpcnnError):
    """A checkpoint that is damaged, foreign, or whose classes do not match."""

    code = "checkpoint"
    exit_code = 5


class DivergedError(CpcnnError):
    """Training produced a loss that is not a finite number."""

    code = "diverged"
    exit_code = 6
