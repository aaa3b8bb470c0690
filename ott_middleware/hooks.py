"""Names a hook that raised: which one, what, and where in the user's code.

The text of a foreign exception may quote a cookie, a password or an address. So the log gets its
type, the file and the line; of a `KeyError` also the key, if that stands in the code as it is. The
traceback goes to the logger `ott_middleware.hooks`: frames alone, without texts and values.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from .errors import RequestError, SessionUnavailable, Unavailable

logger = logging.getLogger("ott_middleware.hooks")

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = {os.path.abspath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
_INSTALLED = ("site-packages", "dist-packages")
# A field's name. An address or a token that the code spells out is none.
_FIELD = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
# It calls hooks in threads, and is never the hook itself.
_CALLER = "asgiref"
# A recursion without end has thousands of frames: the innermost ones show where it turns.
_MOST_FRAMES = 40


class OwnWords(Exception):
    """Marks exceptions with a text of this package's own, which may be logged."""


class WrongResult(OwnWords, TypeError):
    """A hook returned what cannot be used; the text says what to return."""


class WrongValue(OwnWords, ValueError):
    """A hook passed a value that cannot be used; the text says which to pass."""


def hook_failed(
    name: str, error: BaseException, *, kind: type[Unavailable] = SessionUnavailable, hint: str = ""
) -> Unavailable:
    """Log the traceback of a hook's exception, and return the error for the client.

    :param name: of the hook, as the developer knows it: `match=`, `MyAdapter.current`.
    :param kind: of the error.
    :param hint: what to do about it.
    """
    hint = _missing_asyncio(error) or hint
    text = describe_failure(name, error) + (f": {hint}" if hint else "")
    if not isinstance(error, WrongResult):  # the hook raised nothing
        logger.error("%s\n%s", text, format_frames(error))
    return kind(text)


class naming:  # noqa: N801 - it is used as a function is, within a `with`
    """Turn a foreign exception of a hook into an error that names the hook.

    :param hint: tells what to do about it, once the hook has raised.
    :raises SessionUnavailable: the hook raised.
    """

    __slots__ = ("_hint", "_name")

    def __init__(self, name: str, hint: Callable[[], str] = str) -> None:
        self._name = name
        self._hint = hint

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # A request's error has a response of its own.
        if isinstance(error, Exception) and not isinstance(error, RequestError):
            raise hook_failed(self._name, error, hint=self._hint()) from error


def describe_failure(name: str, error: BaseException) -> str:
    """Return what a hook raised, and where: `match= raised KeyError: 'email' at app.py:23`."""
    if isinstance(error, WrongResult):
        return str(error)  # the hook raised nothing
    if isinstance(error.__cause__, StopIteration):  # a coroutine or a thread cannot raise it
        error = error.__cause__
    frame, line = _user_frame(error)
    where = f" at {os.path.basename(frame.f_code.co_filename)}:{line}" if frame else ""
    what = name_of_type(error)
    if isinstance(error, OwnWords):
        what += f": {error}"
    elif isinstance(error, KeyError) and len(error.args) == 1 and frame is not None:
        # Attack: a look-up by a user's address or a token, which a KeyError quotes. Only a key that
        # the code itself spells out is shown; without this line, personal data would be logged.
        key = error.args[0]
        if is_spelled_out(key, frame):
            what += f": {key!r}"
    elif isinstance(error, TypeError) and frame is None:
        # No code of the hook ran: the call itself failed.
        where = ": it does not take the arguments that it is called with; see the docs of it"
    return f"{name} raised {what}{where}"


def _missing_asyncio(error: BaseException) -> str:
    """Return the cure for an error of a loop that is not asyncio's, else an empty text."""
    # In `sys.modules` wherever trio runs. The text of an error is only compared: it may be secret.
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is None or "no running event loop" not in str(error):
        return ""
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return ""
    return (
        f"it needs asyncio, and this server runs {library}; use an asyncio worker (hypercorn "
        "without -k trio), or what waits for nothing (blocks = False)"
    )


def name_of_type(error: BaseException) -> str:
    """Return the name of an exception's type, as the developer knows it."""
    kind = type(error)
    if isinstance(error, OwnWords):
        kind = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    return kind.__name__


def is_spelled_out(value: object, frame: FrameType) -> bool:
    """Return whether a text is a field's name, and a literal or a constant of a frame's code."""
    if not isinstance(value, str) or not _FIELD.fullmatch(value):
        return False
    # A comprehension, and a function in a function, are codes of their own.
    inner: FrameType | None = frame
    for _ in range(3):
        if inner is None or inner.f_code.co_filename != frame.f_code.co_filename:
            return False
        if any(value == each for each in _texts_in(inner)):
            return True
        inner = inner.f_back
    return False


def _texts_in(frame: FrameType) -> Iterator[object]:
    for constant in frame.f_code.co_consts:
        yield from constant if isinstance(constant, (tuple, frozenset)) else (constant,)
    # Constants of the module, as EMAIL = "email": no data of a request has such a name.
    yield from (frame.f_globals.get(name) for name in frame.f_code.co_names if name.isupper())


def is_own(code: CodeType) -> bool:
    """Return whether code is this package's."""
    return os.path.abspath(code.co_filename).startswith(_PACKAGE)


def format_frames(error: BaseException) -> str:
    """Return a traceback of files, lines and names, without the texts of exceptions."""
    blocks: list[str] = []
    each: BaseException | None = error
    # Capped: an exception may be its own cause, by a chain that is a ring.
    while each is not None and len(blocks) < 8:
        lines = ["Traceback (most recent call last):"]
        for frame, line in list(traceback.walk_tb(each.__traceback__))[-_MOST_FRAMES:]:
            # No source line: it may have a secret in it that the developer wrote there.
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {line}, in {code.co_name}')
        blocks.append("\n".join([*lines, name_of_type(each)]))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "\n\nThe above exception was the cause of this one:\n\n".join(reversed(blocks))


def _user_frame(error: BaseException) -> tuple[FrameType | None, int]:
    """Return the innermost frame of the user's code, and its line."""
    outermost: tuple[FrameType | None, int] = (None, 0)
    found = outermost
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        # Generated code, as a dataclass has, is no place to look at.
        if is_own(frame.f_code) or (name.startswith("<") and name != "<stdin>"):
            continue
        path = Path(os.path.abspath(name))
        if any(each in path.parts for each in _INSTALLED):
            if _CALLER in path.parts:
                continue
            # An app may be installed as well: its hook is the first that is called there.
            outermost = outermost if outermost[0] else (frame, line)
        elif _LIBRARIES.isdisjoint(map(str, path.parents)):
            found = frame, line
    return found if found[0] else outermost
