"""The first statement of a session behind a REPL: loads the harness that it is given and answers.

Sent as text in front of its own call, so it is plain Python 3 that also an old interpreter can read up to
the point where it refuses.
"""

# ruff: noqa: ANN001, ANN202 - an old interpreter reads no annotations


def _sparklease(files, request):
    import base64
    import json
    import sys
    import types
    import zlib

    if sys.version_info < (3, 9):  # noqa: UP036 - the session's Python is not ours
        version = sys.version.split()[0]
        raise RuntimeError("the session has Python %s, and 3.9 or later is needed" % version)  # noqa: UP031
    for name, text in json.loads(zlib.decompress(base64.b64decode(files)).decode("utf-8")):
        module = types.ModuleType("sparklease_" + name)
        sys.modules[module.__name__] = module
        exec(compile(text, "<" + module.__name__ + ">", "exec"), module.__dict__)
    return sys.modules["sparklease_repl"].install(globals(), request)
