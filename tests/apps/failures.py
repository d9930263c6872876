"""Ways to fail, the same for every framework. The line numbers are part of the tests."""


class NoStock(Exception):
    pass


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def leaf(what):
    raise what


def plain():
    leaf(NoStock("none of 7 left: \u661f"))


def nested():
    def inner():
        return {}["missing"]

    return inner()


def chained():
    try:
        leaf(KeyError("item"))
    except KeyError as error:
        raise NoStock("cannot look up") from error


def in_context():
    try:
        leaf(ValueError("first"))
    except ValueError:
        leaf(NoStock("second"))


def file():
    return open("/no/such/file")


def speechless():
    raise Speechless("what was given")


def long():
    raise ValueError("x" * 100_000)


def surrogate():
    raise ValueError("bad \udc80 byte")


def secret():
    raise ValueError("cannot log in with password=hunter2")


def recursion():
    return recursion()


def caught():
    for key in range(20):
        try:
            nested()
        except KeyError:
            pass
    return "caught"


def asks():
    import sys

    for _ in range(1000):
        sys.exc_info()
    return "asked"


def fail(case):
    """Fails as `case` says; `caught`, `asks` and `explicit` do not."""
    if case != "explicit":
        return globals()[case]()
    return caught()
