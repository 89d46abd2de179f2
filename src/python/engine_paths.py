"""Which local paths a SQL text reads as tables, and whether something is there.

Sail reads a missing path, or a pattern without a match, as an empty table. Here: the rules for the worker's
own pyspark client. Not here: the same rules, with their reasons, for SQL that comes from outside
(platform/local/paths.rs and missing.rs); both are tested with tests/cases/paths.json.
"""

# ruff: noqa: PTH112, PTH116 - paths of user code stay text, not normalised

import os
import re
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional
from urllib.parse import unquote

# The formats that Sail reads by path, as in platform/local/paths.rs; for any other (jdbc, a Python data
# source) a path may mean anything.
FILE_FORMATS = ("parquet", "json", "csv", "text", "delta", "iceberg", "avro", "binaryfile", "arrow")

# How long to look for a match of a pattern, in seconds; then the engine answers. As in platform/local.
LOOK_FOR_S = 3

# What separates tokens, then: a string, a quoted name, a word, anything else.
_COMMENT = r"/\*(?:(?!/\*|\*/).|/\*(?:(?!/\*|\*/).|/\*(?:(?!/\*|\*/).)*\*/)*\*/)*\*/"  # three deep
_TOKEN = re.compile(
    rf"(?:\s|--[^\n]*|{_COMMENT})+"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<raw>[rR](?:'[^']*'|\"[^\"]*\"))"
    r"|(?P<quoted>`(?:[^`]|``)*`)|(?P<word>\w+)|(?P<sign>.)",
    re.S,
)
# Functions that have FROM between their arguments.
_HAVE_FROM = ("EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "OVERLAY")
# TABLE behind one of these says what kind of thing a name is, rather than reading it.
_NAME_A_TABLE = (
    *("CREATE", "REPLACE", "TEMPORARY", "TEMP", "EXTERNAL", "DROP", "ALTER", "TRUNCATE", "INTO", "OVERWRITE"),
    *("DESCRIBE", "DESC", "ANALYZE", "REFRESH", "REPAIR", "UNCACHE", "ON"),
)
_CLAUSES = (
    *("USING", "OPTIONS", "LOCATION", "PARTITIONED", "CLUSTERED", "CLUSTER", "STORED", "COMMENT"),
    "TBLPROPERTIES",
)


_WILD = re.compile(r"\*\*/|\*+|\?|\[(?P<class>\^?.[^\]]*)\]|.", re.S)


# ---- which paths a text reads -----------------------------------------------------------------------------


class _Token(NamedTuple):
    """A word has its `name`, and in upper case as `bare` if without quotes; a literal its `string`, the rest
    a `sign`."""

    bare: str = ""
    name: Optional[str] = None
    string: Optional[str] = None
    sign: str = ""


def _tokens(sql: str) -> list[_Token]:
    """The tokens of one statement. Raises ValueError for several, or for a text that ends in a string."""
    tokens = []
    for match in _TOKEN.finditer(sql):
        found = match[0]
        if match["word"]:
            tokens.append(_Token(bare=found.upper(), name=found))
        elif match["quoted"]:
            tokens.append(_Token(name=found[1:-1].replace("``", "`")))
        elif match["string"]:
            tokens.append(_Token(string=re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.S)))
        elif match["raw"]:
            tokens.append(_Token(sign="raw"))
        elif match["sign"]:
            tokens.append(_Token(sign=found))
    while tokens and tokens[-1].sign == ";":
        tokens.pop()
    if any(token.sign in (";", "'", '"', "`") for token in tokens if token.sign):
        raise ValueError("this is not one whole statement")
    return tokens


def relations(sql: str) -> list[str]:
    """The paths that a text, or a part of one, reads as tables.

    Not found is a name that is known only when the text runs: `IDENTIFIER('text.' || ...)`, `IDENTIFIER(:t)`.
    """
    try:
        tokens = _tokens(sql)
    except ValueError:
        return re.findall(rf"\b(?:{'|'.join(FILE_FORMATS)})\s*\.\s*`([^`]+)`", sql, re.I)
    return [*_created_from(tokens), *_relations(tokens)]


def _relations(tokens: list[_Token]) -> Iterator[str]:
    # Of each open parenthesis: whether a comma stands between relations, whether FROM is a function's word.
    outer: list[tuple[bool, bool]] = []
    in_list = in_call = may_stand = False
    for at, token in enumerate(tokens):
        here, may_stand = may_stand, False
        before = [token.bare for token in tokens[max(at - 2, 0) : at]]
        last = before[-1] if before else ""
        if token.sign == "(":
            outer.append((in_list, in_call))
            in_list, in_call, may_stand = here, last in _HAVE_FROM, here
        elif token.sign == ")":
            in_list, in_call = outer.pop() if outer else (False, False)
        elif token.sign == ",":
            may_stand = in_list
        elif token.bare in ("SELECT", "BY", "SET"):
            in_list = False
        elif token.bare == "FROM" and not in_call and before not in (["IS", "DISTINCT"], ["NOT", "DISTINCT"]):
            in_list = may_stand = True
        elif token.bare in ("JOIN", "USING"):
            may_stand = True
        elif token.bare == "TABLE":
            may_stand = last not in _NAME_A_TABLE
        elif here and token.bare == "IDENTIFIER":
            signs = [token.sign for token in tokens[at + 1 : at + 4]]
            if signs == ["(", "", ")"]:
                yield from relations(f"TABLE {tokens[at + 2].string or ''}")
        elif here and _is_format(token.name):
            dot, path, after = [*tokens[at + 1 : at + 4], *[_Token()] * 3][:3]
            if dot.sign == "." and path.name is not None and after.sign != ".":
                yield path.name


def _is_format(name: Optional[str]) -> bool:
    return name is not None and name.lower() in FILE_FORMATS


def _created_from(tokens: list[_Token]) -> list[str]:
    """The path of a `CREATE … USING format OPTIONS (path '…')` or `… LOCATION '…'`. A table with a column
    list, a query or a model may mean a new folder, so it has none; a view always reads."""
    kind = next((at for at, token in enumerate(tokens) if token.bare in ("TABLE", "VIEW")), 0)
    if kind == 0 or tokens[0].bare not in ("CREATE", "REPLACE"):
        return []
    view = tokens[kind].bare == "VIEW"
    paths: list[str] = []
    depth, clauses, reads = 0, False, not view
    at = kind + 1
    while at < len(tokens):
        token, rest = tokens[at], tokens[at + 1 :]
        at += 1
        clauses = clauses or token.bare in _CLAUSES
        if token.sign == "(":
            if depth == 0 and not clauses and not view:
                return []
            depth += 1
        elif token.sign == ")":
            depth = max(depth - 1, 0)
        elif depth > 0:
            continue
        elif token.bare in ("AS", "LIKE"):
            return []
        elif token.bare in ("USING", "STORED") and rest:
            skipped = 1 if rest[0].bare == "AS" else 0
            reads = any(_is_format(token.name) for token in rest[skipped : skipped + 1])
            at += skipped + 1
            if not reads:
                return []
        elif token.bare == "OPTIONS":
            paths.extend(_path_option(rest))
        elif token.bare == "LOCATION" and rest and rest[0].string is not None:
            paths.append(rest[0].string)
    return paths if reads else []


def _path_option(tokens: list[_Token]) -> Iterator[str]:
    """The path in `(header 'true', path = '/x')`."""
    start = 1
    for at, token in enumerate(tokens):
        if token.sign in (",", ")"):
            key, *value = [*tokens[start:at], _Token()]
            value = [token for token in value[:-1] if token.sign != "="]
            name = key.name if key.string is None else key.string
            if (name or "").lower() == "path" and len(value) == 1 and value[0].string is not None:
                yield value[0].string
                return
            start = at + 1
        if token.sign == ")":
            return


# ---- what is there ----------------------------------------------------------------------------------------


def check(path: str) -> None:
    """Raises FileNotFoundError for a local path or pattern that Sail would read as empty.

    A pattern means to Sail what platform/local/missing.rs says.
    """
    scheme = re.match(r"([^\\/:]+):(//[^/]*)?", path)
    url = scheme is not None and scheme[2] is not None
    if scheme is not None:
        elsewhere = scheme[1].lower() != "file" if url else path[scheme.end() :][:1] not in ("/", "?", "#")
        if elsewhere:
            return
    local = path[scheme.end() :] if scheme is not None and url else path
    until = time.monotonic() + LOOK_FOR_S
    if any(_found(choice, url, until) for choice in _choices(local)):
        return
    if re.match("file:/(?!/)", path, re.I):
        hint = "write file:///path or /path: the local engine takes file:/path for a relative path"
    elif _is_pattern(local):
        hint = (
            "no file matches the pattern; the local engine matches no folders, no key=value parts of a path"
            " and no names that begin with _ or a dot, and [ in a name is written [[]"
        )
    else:
        hint = "no such file or folder (the local engine passes over files that begin with _ or a dot)"
    raise FileNotFoundError(f"nothing to read is at {path}: {hint} (the working directory is {os.getcwd()})")


def _is_pattern(path: str) -> bool:
    return re.search(r"[*?\[{]", path) is not None


def _found(path: str, url: bool, until: float) -> bool:
    if time.monotonic() >= until:
        return True
    special = re.search(r"[*?\[]", path)
    if special is None:
        return _there(unquote(path) if url else path)
    cut = path.rfind("/", 0, special.start()) + 1
    base = unquote(path[:cut]) if url else path[:cut]
    return _matched(base or ".", _pattern(unquote(path[cut:])), until)


def _there(path: str) -> bool:
    try:
        file = stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return not (file and _hidden(path.rpartition("/")[2]))


def _hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def _matched(base: str, pattern: re.Pattern[str], until: float) -> bool:
    """Whether a file under `base` matches; what is near comes first. What cannot be read is left to Sail."""
    folders = [(base, "")]
    for folder, seen in folders:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
        for entry in entries:
            if time.monotonic() >= until:
                return True
            name = entry.name
            if _hidden(name):
                continue
            below = seen if "=" in name else f"{seen}/{name}" if seen else name
            if os.path.isdir(entry.path):
                folders.append((entry.path, below))
            elif pattern.fullmatch(below) and _there(entry.path):
                return True
    return False


def _pattern(pattern: str) -> re.Pattern[str]:
    """Sail's pattern as an expression: `*` and `?` go over `/`, `**/` may be no folder at all."""

    def part(match: re.Match[str]) -> str:
        if match["class"] is not None:
            others, inside = match["class"].startswith("^"), match["class"].removeprefix("^")
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
            return f"[{'^' if others else ''}{inside}]"
        return {"**/": "(?:.*/)?", "*": ".*", "**": ".*", "?": "."}.get(match[0]) or re.escape(match[0])

    try:
        return re.compile(_WILD.sub(part, pattern), re.S)
    except re.error:
        return re.compile(".*", re.S)  # Sail refuses it, in its own words


def with_folder(path: str) -> str:
    """Sail refuses a pattern without a folder (`data*`: "empty path in URL"); all else stays as it is."""
    special = re.search(r"[*?\[{]", path)
    return f"./{path}" if special and "/" not in path[: special.start()] and ":" not in path else path


def _choices(pattern: str) -> Iterator[str]:
    """`a{b,c}` as `ab` and `ac`."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _choices(pattern[: match.start()] + choice.strip() + pattern[match.end() :])
