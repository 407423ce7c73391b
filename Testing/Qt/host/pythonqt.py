"""PySide6 in the dialect that Slicer's Python speaks to Qt (PythonQt), as a module named `qt`.

What PythonQt does and PySide6 does not: a Q_PROPERTY is read and written as an attribute and hides the getter of its name; `name` is
`objectName`; children are attributes by their object names; `exec_()` is `exec()`; a C++ object takes no attributes of one's own; signals
are connected by their C++ signature and give a function no more arguments than it takes.

Source: PythonQtInstanceWrapper.cpp, PythonQtClassInfo.cpp and PythonQtSignalReceiver.cpp of commontk/PythonQt.
"""

import inspect
import sys
import types

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from Testing.Qt.host.signals import BoundSignal, connect, disconnect

MODULES = (QtCore, QtGui, QtWidgets, QtUiTools, QtNetwork)
ABSENT = {"Signal", "Slot", "Property", "SIGNAL", "SLOT", "QtMsgType"}
"""Names of PySide6's own, which PythonQt does not have."""
NO_PROPERTIES = {("QTimer", "singleShot")}
"""Properties that PythonQt leaves out, because a static function bears their name."""
_native = set()
_loading = []


class QtProperty:
    """A Q_PROPERTY as an attribute."""

    def __init__(self, name, getter, setter):
        self.name, self.getter, self.setter = name, getter, setter

    def __get__(self, thing, kind=None):
        if thing is None:
            return self.getter if self.getter is not None else self
        return self.getter(thing) if self.getter is not None else QtCore.QObject.property(thing, self.name)

    def __set__(self, thing, value):
        if self.setter is not None:
            self.setter(thing, value)
        elif not QtCore.QObject.setProperty(thing, self.name, value):
            raise AttributeError(f"Property '{self.name}' of {type(thing).__name__} object is not writable")


class loading_ui:
    """While PySide6 builds a form it sets children as attributes; nobody else may."""

    def __enter__(self):
        _loading.append(True)

    def __exit__(self, *_):
        _loading.pop()


def native(kind):
    """Marks a stand-in as a C++ class: the dialect's rules hold for its objects."""
    _native.add(kind)
    return kind


def _give_properties(kind):
    """Makes the Q_PROPERTYs of a class attributes; inherited ones too where the class has a getter of its own."""
    meta = kind.staticMetaObject
    for number in range(meta.propertyCount()):
        prop = meta.property(number)
        name = prop.name()
        is_own = number >= meta.propertyOffset()
        if (kind.__name__, name) in NO_PROPERTIES or not (is_own or _is_plain(kind.__dict__.get(name))):
            continue
        setter = getattr(kind, f"set{name[0].upper()}{name[1:]}", None) if prop.isWritable() else None
        setattr(kind, name, QtProperty(name, _getter(kind, name), setter))


def _is_plain(member):
    return callable(member) and not isinstance(member, QtProperty | QtCore.Property | QtCore.Signal)


def _getter(kind, name):
    for candidate in (name, f"is{name[0].upper()}{name[1:]}", f"has{name[0].upper()}{name[1:]}"):
        member = inspect.getattr_static(kind, candidate, None)
        if isinstance(member, QtProperty):
            return member.getter
        if _is_plain(member):
            return getattr(kind, candidate)
    return None


def _read_unknown(thing, name):
    """What PythonQt finds where the class has no such member."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "name":
        return QtCore.QObject.property(thing, "objectName")
    if name.endswith("_") and callable(getattr(type(thing), name[:-1], None)):
        return getattr(thing, name[:-1])
    value = QtCore.QObject.property(thing, name)
    if value is not None:
        return value
    for child in QtCore.QObject.children(thing):
        if QtCore.QObject.property(child, "objectName") == name:
            return child
    raise AttributeError(f"{type(thing).__name__} has no attribute named '{name}'")


def _write(thing, name, value):
    """Properties are written; new attributes only go to Python subclasses."""
    name = "objectName" if name == "name" else name
    kind = type(thing)
    if isinstance(value, QtCore.SignalInstance):  # PySide6 keeps bound signals this way
        thing.__dict__[name] = value
        return
    member = inspect.getattr_static(kind, name, None)
    if isinstance(member, QtCore.Property):
        if member.fset is None:
            raise AttributeError(f"Property '{name}' of {kind.__name__} object is not writable")
        member.fset(thing, value)
    elif hasattr(type(member), "__set__"):
        type(member).__set__(member, thing, value)
    elif kind not in _native:
        thing.__dict__[name] = value
    elif _loading:
        return
    elif member is not None:
        raise AttributeError(f"'{name}' (slot, signal or enum) can not be overwritten on {kind.__name__} object")
    elif name.encode() in [bytes(one.data()) for one in QtCore.QObject.dynamicPropertyNames(thing)]:
        QtCore.QObject.setProperty(thing, name, value)
    else:
        raise AttributeError(
            f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
        )


def _speak(kind):
    """Intercepts attribute access of a class; PySide6's own handling of `connect` cannot be replaced otherwise."""
    read = kind.__getattribute__

    def get(thing, name):
        if name == "connect":
            return types.MethodType(connect, thing)
        if name == "disconnect":
            return types.MethodType(disconnect, thing)
        value = read(thing, name)
        return BoundSignal(thing, name, value) if type(value) is QtCore.SignalInstance else value

    kind.__getattribute__ = get
    kind.__setattr__ = _write


def install():
    """Puts `qt` and `PythonQt` where the modules import them from, once per process; returns `qt`."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    qt = types.ModuleType("qt")
    for module in MODULES:
        for name in dir(module):
            if not name.startswith("__") and name not in ABSENT:
                setattr(qt, name, getattr(module, name))
    classes = {one for module in MODULES for one in vars(module).values() if isinstance(one, type)}
    objects = sorted((one for one in classes if issubclass(one, QtCore.QObject)), key=lambda one: len(one.__mro__))
    for kind in objects:
        _give_properties(kind)
        _native.add(kind)
    QtCore.QObject.__getattr__ = _read_unknown
    for kind in objects:
        _speak(kind)
    QtCore.QObject.className = lambda thing: type(thing).__name__
    sys.modules["qt"] = qt
    whole = types.ModuleType("PythonQt")
    whole.QtCore = whole.QtGui = whole.Qt = qt
    sys.modules["PythonQt"] = whole
    return qt
