"""Holds exceptions of every kind, tells what the traceback module says of each, and waits to be read."""

import json
import sys
import traceback

SERVICE = '''
class NoStock(Exception):
    class Inner(ValueError):
        pass


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Coded(Exception):
    def __init__(self, code, detail):
        super().__init__(code, detail)


class Text(str):
    pass


class Plain:
    pass


def leaf(what):
    raise what


def multi(
    a,
    b,
):
    return (
        a
        / b
    )


def generator():
    yield 1
    leaf(ValueError("in a generator"))


def recurse(depth):
    if depth == 0:
        leaf(ValueError("deep"))
    recurse(depth - 1)


def other(depth):
    return recurse(depth)


def chained():
    try:
        leaf(KeyError("first"))
    except KeyError as error:
        raise NoStock("second") from error


def in_context():
    try:
        leaf(KeyError("first"))
    except KeyError:
        try:
            {}["second"]
        except KeyError:
            leaf(NoStock.Inner("third"))


def hidden_context():
    try:
        leaf(KeyError("first"))
    except KeyError:
        raise NoStock("second") from None


def circle():
    first, second = NoStock("one"), NoStock("two")
    first.__cause__, second.__cause__ = second, first
    raise first


def reraised():
    try:
        leaf(NoStock("again"))
    except NoStock as error:
        raise error


def run(function):
    try:
        function()
    except BaseException as error:
        return error


def cases():
    yield "plain", run(lambda: leaf(NoStock("out of stock")))
    yield "nested name", run(lambda: leaf(NoStock.Inner("x")))
    yield "no message", run(lambda: leaf(NoStock()))
    yield "two arguments", run(lambda: leaf(Coded(7, "it's \\u661f")))
    yield "many kinds", run(lambda: leaf(ValueError(1, -2**70, 2.5, 1e100, None, True, b"a\\xff'", (1,), [], [2, "x"],
                                                    ValueError("y"), KeyError, ...)))
    yield "a number", run(lambda: leaf(ValueError(42)))
    yield "key", run(lambda: {}["missing"])
    yield "key of two", run(lambda: {}[("a", 1)])
    yield "latin", run(lambda: leaf(ValueError("caf\\xe9")))
    yield "wide", run(lambda: leaf(ValueError("\\u661f\\u5c18")))
    yield "widest", run(lambda: leaf(ValueError("\\U0001f600!")))
    yield "surrogate", run(lambda: leaf(ValueError("bad \\udc80 byte")))
    yield "str of a subclass", run(lambda: leaf(ValueError(Text("sub \\u661f"))))
    yield "long", run(lambda: leaf(ValueError("x" * 100000)))
    yield "multi line", run(lambda: leaf(ValueError("one\\ntwo")))
    yield "division", run(lambda: multi(1, 0))
    yield "no file", run(lambda: open("/no/such/file"))
    yield "two files", run(lambda: __import__("os").rename("/no/such/file", "/no/other"))
    yield "os error", run(lambda: leaf(OSError(5, "odd")))
    yield "os error of one", run(lambda: leaf(OSError("just text")))
    yield "import", run(lambda: __import__("no_such_module"))
    yield "decode", run(lambda: b"ab\\xff".decode())
    yield "decode more", run(lambda: b"\\xe2\\x28\\xa1".decode("utf-16"))
    yield "encode", run(lambda: "caf\\xe9".encode("ascii"))
    yield "encode surrogate", run(lambda: "\\ud800".encode())
    yield "encode widest", run(lambda: "a\\U0001f600".encode("latin-1"))
    yield "exit", run(lambda: leaf(SystemExit(3)))
    yield "generator", run(lambda: list(generator()))
    yield "recursion", run(lambda: other(12))
    yield "chained", run(chained)
    yield "in context", run(in_context)
    yield "hidden context", run(hidden_context)
    yield "circle", run(circle)
    yield "reraised", run(reraised)
    yield "not raised", ValueError("never")
    yield "deep recursion", run(lambda: other(300))
    yield "says nothing", run(lambda: leaf(Silent("argument")))
    yield "an object", run(lambda: leaf(ValueError(Plain())))
'''

GROUPS = '''
def members():
    yield run(lambda: leaf(NoStock("a")))
    yield ExceptionGroup("inner", [run(chained), TypeError("b")])
    yield run(lambda: leaf(ValueError("two\\nlines")))


def noted():
    error = NoStock("with notes")
    error.add_note("first note")
    error.add_note("second\\nnote")
    raise error


def groups():
    yield "group", run(lambda: leaf(ExceptionGroup("outer", list(members()))))
    yield "group of one", run(lambda: leaf(BaseExceptionGroup("base", [KeyboardInterrupt()])))
    yield "notes", run(noted)
'''


def names(error):
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else kind.__module__ + "." + kind.__qualname__


def text(value):
    return value.encode("utf-8", "backslashreplace").decode()


def main():
    # No file of this name: the traceback module has no source lines to add.
    space = {"__name__": "shop.stock"}
    exec(compile(SERVICE, "/srv/shop/stock.py", "exec"), space)
    held = list(space["cases"]())
    if sys.version_info >= (3, 11):
        exec(compile(GROUPS, "/srv/shop/groups.py", "exec"), space)
        held += space["groups"]()
    for case, error in held:
        try:
            message = str(error)
        except Exception:
            message = None
        print(json.dumps({
            "case": case,
            "address": id(error),
            "name": names(error),
            "message": None if message is None else text(message),
            "frames": [[frame.filename, frame.lineno, frame.name] for frame in traceback.extract_tb(error.__traceback__)],
            "stacktrace": text("".join(traceback.format_exception(type(error), error, error.__traceback__))),
        }))
    print("end", flush=True)
    sys.stdin.read()


main()
