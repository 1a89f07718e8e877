"""The one exception tree.

Every error a user can meet derives from `Error`. A message says what happened, where, and what to try next. An error
crosses a link as its `code` (the class name) and its message; `from_code` makes it the same class again on the far
side.
"""

from __future__ import annotations

import builtins


class Error(Exception):
    """Base of every error that inrush raises on purpose."""


class InvalidError(Error):
    """The program asked for something that cannot be: a wrong parameter, an unknown GPU type, a bad combination."""


class ArgumentsError(InvalidError, TypeError):
    """A call has other arguments than its function takes."""


class NotFoundError(Error):
    """The named app, function, call, secret, dict or container does not exist."""


class AlreadyExistsError(Error):
    """The name is taken."""


class ConflictError(Error):
    """Somebody else changed the same thing at the same time; look again and repeat."""


class AuthError(Error):
    """The token is missing or wrong."""


class PermissionDeniedError(Error):
    """The caller is known but may not do this, for instance user code in a container that wants to deploy."""


class ConnectionError(Error, builtins.ConnectionError):
    """The server cannot be reached."""


class VersionError(Error):
    """Client and server do not speak the same version."""


class UnimplementedError(Error):
    """A parameter or a call that is known but not built yet."""


class ResourceExhaustedError(Error):
    """A limit was reached: a queue is full, a payload too large, a disk full. Try again later, or with less."""


class RequestSizeError(ResourceExhaustedError):
    """An argument or a result is larger than the payload limit."""


class ImageBuildError(Error):
    """A step of an image failed; the message names the step and ends with its output."""


class ExecutionError(Error):
    """The container failed while it ran an input: it crashed, was killed, or ran out of memory."""


class OutOfMemoryError(ExecutionError):
    """The container went over its memory limit and was killed."""


class StartupError(ExecutionError):
    """The container could not start: the module does not import, or an enter hook failed."""


class InternalError(Error):
    """A defect of inrush itself. The message says where to look."""


class SerializationError(Error):
    """An argument or a result could not be pickled."""


class DeserializationError(Error):
    """A payload could not be unpickled: most often a class or a package that the other side does not have."""


class RemoteError(Error):
    """User code raised an exception that could not be carried over as its own type; the message holds its traceback."""


class TimeoutError(Error, builtins.TimeoutError):
    """Something took longer than it was given."""


class FunctionTimeoutError(TimeoutError):
    """An attempt ran longer than the function's `timeout`."""


class OutputExpiredError(TimeoutError):
    """The result was kept for its time and is gone."""


class CancelledError(Error):
    """The call was cancelled, by `FunctionCall.cancel`, by the end of its app, or because its caller vanished."""


class InputCancellation(BaseException):
    """Raised inside user code when its input is cancelled; not an `Exception`, so that `except Exception` lets it
    pass."""


def from_code(code: str, message: str) -> Error:
    """The error of class `code`, or an `InternalError` that names the unknown code."""
    kind = globals().get(code)
    if isinstance(kind, type) and issubclass(kind, Error):
        return kind(message)
    return InternalError(f"{code}: {message}")
