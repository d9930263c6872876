"""Says where its own objects are, then waits: what an interpreter knows of itself, for comparison with the table.

Prints one JSON object: each fact is the address of a struct and what stands in the field that the fact names.
"""

import contextvars
import ctypes
import json
import sys
import threading

api = ctypes.pythonapi
facts = {}


def fact(name, base, value):
    facts[name] = [base, value]


def address_of(symbol):
    return ctypes.addressof(ctypes.c_char.in_dll(api, symbol))


def call(name):
    function = getattr(api, name)
    function.restype = ctypes.c_void_p
    return function()


class Base:
    pass


class Derived(Base):
    def __init__(self):
        self.attribute = 1


def throw():
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("outer", 7) from error


def describe_objects():
    derived = Derived()
    fact("object.kind", id(derived), id(Derived))
    fact("object.size", id((1, 2, 3)), 3)
    fact("object.type_base", id(Derived), id(Base))
    fact("object.type_basic_size", id(Derived), Derived.__basicsize__)
    fact("object.type_dict_offset", id(Derived), Derived.__dictoffset__ & (2**64 - 1))
    fact("object.type_flags", id(Derived), Derived.__flags__)
    facts["object.type_name"] = [id(Derived), "Derived"]
    facts["object.type_qualname"] = [id(Derived), "Derived"]
    facts["text.ascii"] = [id("plain text"), "plain text"]
    facts["text.wide"] = [id("näht"), "näht"]
    facts["text.bytes"] = [id(b"some bytes"), "some bytes"]
    items = (object(), object())
    fact("object.tuple_items", id(items), id(items[0]))
    facts["keep"] = [0, 0]
    keep.extend([derived, items])
    things = [items[1]]
    keep.append(things)
    facts["list.first"] = [id(things), id(things[0])]


def describe_exception(error):
    cause = error.__cause__
    fact("exception.args", id(error), id(error.args))
    fact("exception.traceback", id(error), id(error.__traceback__))
    fact("exception.context", id(error), id(error.__context__))
    fact("exception.cause", id(error), id(cause))
    facts["exception.suppress_context"] = [id(error), 1]
    outer = error.__traceback__
    inner = outer.tb_next
    fact("traceback.next", id(outer), id(inner))
    fact("traceback.frame", id(outer), id(outer.tb_frame))
    facts["traceback.last_instruction"] = [id(outer), outer.tb_lasti]
    facts["traceback.line"] = [id(outer), outer.tb_lineno]
    keep.extend([error, outer, inner, inner.tb_frame])


def describe_code(code):
    fact("code.filename", id(code), id(code.co_filename))
    fact("code.name", id(code), id(code.co_name))
    facts["code.firstlineno"] = [id(code), code.co_firstlineno]
    if hasattr(code, "co_qualname"):
        fact("code.qualname", id(code), id(code.co_qualname))
    facts["code.lines"] = [id(code), list(code.co_lnotab if sys.version_info < (3, 10) else code.co_linetable)]


def describe_thread(context):
    state = call("PyThreadState_Get")
    fact("thread.state", 0, state)
    fact("thread.gil_state", 0, call("PyGILState_GetThisThreadState"))
    fact("thread.thread_id", state, threading.get_ident())
    fact("thread.native_thread_id", state, threading.get_native_id())
    fact("thread.context", state, id(context))
    fact("interpreter.modules", 0, id(sys.modules))
    if hasattr(api, "PyInterpreterState_Main"):
        fact("runtime.interpreters_main", address_of("_PyRuntime"), call("PyInterpreterState_Main"))
    fact("runtime", 0, address_of("_PyRuntime"))


def wait(context, outer):
    """Blocks in the context, with an exception being handled, as the last Python function called."""
    frame = sys._getframe()
    fact("frame.self", id(frame), id(frame.f_code))
    fact("frame.caller", id(frame.f_back), id(frame.f_back.f_code))
    fact("context.entered", id(context), 1)
    fact("context.prev", id(context), id(outer))
    describe_thread(context)
    try:
        throw()
    except ValueError as error:
        describe_exception(error)
        fact("thread.handled", 0, id(error))
        print(json.dumps(facts), flush=True)
        sys.stdin.readline()


keep = []
describe_objects()
describe_code(Derived.__init__.__code__)
variable = contextvars.ContextVar("variable")
outer = contextvars.copy_context()
inner = contextvars.copy_context()
idle = threading.Event()
threading.Thread(target=idle.wait, daemon=True).start()
outer.run(lambda: inner.run(wait, inner, outer))
