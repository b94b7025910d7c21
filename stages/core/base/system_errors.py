"""What the system refuses: no room, no permission. The user can fix it, whichever library was told."""

import errno
import os
import re

FIXABLE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "it must be writable",
    errno.EACCES: "it must be readable and writable",
    errno.EPERM: "it must be readable and writable",
}
"""Errors of the system that are no bug, with what helps."""

_SAID = {os.strerror(code): advice for code, advice in FIXABLE.items() if code not in (errno.EPERM, errno.EACCES)}
_SAID |= dict.fromkeys(("attempt to write a readonly database", "unable to open database file"), FIXABLE[errno.EACCES])
"""What native code writes into the messages of its own exceptions. Of permissions, others speak too."""

_OP = re.compile(r"{{.*?}}|\[Op:\w+\]")
"""TensorFlow's name of the op that failed."""


def describe_system_error(error: BaseException | None) -> str | None:
    """One line on an error of the system behind an exception, whatever a library has made of it; None for any other."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in FIXABLE:
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{os.strerror(error.errno)}; {FIXABLE[error.errno]} and run this again"
        for text, advice in _SAID.items():
            line = next((line for line in str(error).splitlines() if text.lower() in line.lower()), None)
            if line is not None:
                return f"{' '.join(_OP.sub('', line).split())[:300]}; {advice} and run this again"
        error = error.__cause__ or error.__context__
    return None
