"""Signals as PythonQt connects them: by C++ signature, with no more arguments than the function takes, errors printed and not raised.

What a callback raised is kept in `failures`, so that a test can fail for it.
"""

import inspect
import re
import sys
import traceback

from PySide6 import QtCore

from Testing.Qt.host.log import ERROR, entries

pyside_connect, pyside_disconnect = QtCore.QObject.connect, QtCore.QObject.disconnect
failures = []
"""Tracebacks of callbacks, oldest first."""
_connections = {}
"""Functions and what was connected in their place, by object and signal."""
PYTHON_TYPES = {"QString": str, "int": int, "bool": bool, "double": float}


class BoundSignal:
    """A signal of an object."""

    def __init__(self, thing, name, signal):
        self.thing, self.name, self.signal = thing, name, signal

    def connect(self, receiver):
        """Only where it is clear which signal is meant: PythonQt would take the first of several."""
        known = _signatures(self.thing, self.name)
        if len(known) > 1:
            raise ValueError(
                f"{self.name} of {type(self.thing).__name__} is one of {known}; connect it by its signature"
            )
        return _join(self.thing, self.name, self.signal, receiver)

    def disconnect(self, receiver=None):
        return _take_off(self.thing, self.name, self.signal, receiver)

    def emit(self, *arguments):
        self.signal.emit(*arguments)

    __call__ = emit


def connect(thing, *arguments):
    """`QObject.connect` of PythonQt: a signature and a function. PySide6 itself comes here too, with arguments of its own."""
    if not _is_of_the_dialect(arguments):
        return pyside_connect(*arguments)
    name, signal = _find(thing, arguments[0])
    return _join(thing, name, signal, arguments[1])


def disconnect(thing, *arguments):
    """`QObject.disconnect` of PythonQt; see `connect`."""
    if not _is_of_the_dialect(arguments) and len(arguments) != 1:
        return pyside_disconnect(*arguments)
    name, signal = _find(thing, arguments[0])
    return _take_off(thing, name, signal, arguments[1] if len(arguments) > 1 else None)


def _is_of_the_dialect(arguments):
    return len(arguments) == 2 and isinstance(arguments[0], str) and callable(arguments[1])


def _join(thing, name, signal, receiver):
    if isinstance(receiver, BoundSignal):
        receiver = receiver.emit
    wrapped = _wrapped(receiver)
    signal.connect(wrapped)
    _connections.setdefault((id(thing), name), []).append((receiver, wrapped))
    return True


def _take_off(thing, name, signal, receiver):
    there = _connections.get((id(thing), name), [])
    kept = []
    for known, wrapped in there:
        if receiver is None or known == receiver:
            signal.disconnect(wrapped)
        else:
            kept.append((known, wrapped))
    _connections[id(thing), name] = kept
    return len(kept) < len(there)


def _find(thing, signature):
    """The signal of that signature; refused where Qt 6 has none of it."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if match is None:
        raise ValueError(f"QObject connect: bad signal signature {signature!r}; expected name(arguments)")
    name, arguments = match.groups()
    bound = getattr(thing, name, None)
    if not isinstance(bound, BoundSignal):
        raise ValueError(f"signal {signature} does not exist on {type(thing).__name__}")
    known = _signatures(thing, name)
    wanted = _normal(f"{name}({arguments})")
    is_python = any("PyObject" in one for one in known)
    if is_python:
        declared = getattr(type(thing), "SIGNATURES", ())
        if wanted not in declared:
            raise ValueError(f"no such signal {type(thing).__name__}::{wanted}; there are {declared}")
        return name, bound.signal
    if wanted not in known:
        raise ValueError(f"no such signal {type(thing).__name__}::{wanted}; there are {known}")
    kinds = tuple(PYTHON_TYPES[one] for one in wanted[len(name) + 1 : -1].split(",") if one in PYTHON_TYPES)
    return name, bound.signal[kinds] if len(known) > 1 and kinds else bound.signal


def _signatures(thing, name):
    """Of all signals of that name."""
    meta = QtCore.QObject.metaObject(thing)
    methods = [meta.method(number) for number in range(meta.methodCount())]
    return [
        bytes(one.methodSignature().data()).decode()
        for one in methods
        if one.methodType() == QtCore.QMetaMethod.MethodType.Signal and one.name() == name
    ]


def _normal(signature):
    text = QtCore.QMetaObject.normalizedSignature(signature)
    return bytes(text.data()).decode() if hasattr(text, "data") else str(text)


def _wrapped(receiver):
    """A plain function (a bound method would crash while a form is built) that drops the arguments the receiver has no place for."""
    limit = _limit(receiver)

    def call(*arguments):
        try:
            receiver(*(arguments if limit is None else arguments[:limit]))
        except Exception:
            failures.append(traceback.format_exc())
            print(failures[-1], file=sys.stderr)  # noqa: T201  (as PythonQt does)
            entries.append((ERROR, failures[-1]))  # as Slicer does with what is printed there

    return call


def _limit(receiver):
    function = receiver.__func__ if inspect.ismethod(receiver) else receiver
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - inspect.ismethod(receiver)
