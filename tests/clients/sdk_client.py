"""Drives the built binary with the official Python SDK in one era; prints one JSON line per check.

Usage: sdk_client.py BINARY FOLDER legacy|modern|prepare [TARGET [CHECK…]]. `legacy` says initialize at
2025-11-25, `modern` asks server/discover and goes on without a handshake at 2026-07-28, `prepare` only runs
one query, for whose engine it waits as long as an installation takes. FOLDER is empty and ours; the
environment names the configuration, the cache and data folders. TARGET is where calls run that name none
(local); each CHECK is left out. A line is {"check": name, "ok": bool, "why": text}; tests/it/clients/sdk.rs
holds the names that must be there. Nothing is retried: what takes time is waited for with a deadline.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import jsonschema
from contract import FAILURE, SESSION, SESSIONS, STATEMENT, TABLES
from mcp import Client, MCPError, StdioServerParameters
from mcp import types as mcp_types
from mcp.client.stdio import stdio_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

BINARY, FOLDER, ERA = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
TARGET = sys.argv[4] if len(sys.argv) > 4 else "local"
LEFT_OUT = sys.argv[5:]
VERSION = {"legacy": "2025-11-25", "modern": "2026-07-28"}

# For what ends by itself or by a cancel. The server's own bounds are far below.
PATIENCE_S = 60
# For the installation of the engine with a slow network.
INSTALL_S = 1200
# What a client that resets its timers may count on between two notices, in seconds.
NOTICE_EVERY_S = 5

TOOLS = (
    "query_sql",
    "run_sql",
    "run_pyspark",
    "list_tables",
    "write_table",
    "get_statement",
    "cancel_statement",
    "open_session",
    "list_sessions",
    "close_session",
)
READS = {"query_sql", "list_tables", "get_statement", "list_sessions"}
CHANGES = {"run_sql", "run_pyspark", "write_table"}
IDEMPOTENT = READS | {"cancel_statement", "close_session"}

failed = 0


def report(name: str, why: str = "") -> None:
    """One check's outcome; no reason is success."""
    global failed
    failed += bool(why)
    print(json.dumps({"check": name, "ok": not why, "why": why}), flush=True)


def same(found: object, expected: object) -> None:
    """Compares whole values, and shows both."""
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}")


def has(text: str, *parts: str) -> None:
    """Each part stands in the text."""
    missing = [part for part in parts if part not in text]
    if missing:
        raise AssertionError(f"{missing!r} not in {text!r}")


class Wire:
    """What came over the server's stdout, in order, with the time of its arrival."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, Any]] = []

    @contextlib.asynccontextmanager
    async def connect(self, server: StdioServerParameters, log: Path) -> AsyncIterator[tuple[Any, Any]]:
        """The SDK's own stdio transport, with a copy of each message kept here."""
        with log.open("w") as errors:
            async with stdio_client(server, errlog=errors) as (read, write):
                send, receive = anyio.create_memory_object_stream[Any](0)

                async def copy() -> None:
                    async with send:
                        async for message in read:
                            self.arrived.append((time.monotonic(), message))
                            await send.send(message)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(copy)
                    yield receive, write
                    tasks.cancel_scope.cancel()

    def bodies(self) -> list[dict[str, Any]]:
        """The messages as JSON; what was none raises."""
        out = []
        for _, item in self.arrived:
            if isinstance(item, Exception):
                raise AssertionError(f"not a message: {item}")
            out.append(item.message.model_dump(by_alias=True, mode="json", exclude_none=True))
        return out

    def notices(self, since: int) -> list[tuple[float, dict[str, Any]]]:
        """Progress notices from the message with this number on."""
        bodies = self.bodies()
        both = list(zip([at for at, _ in self.arrived], bodies))[since:]
        return [(at, b["params"]) for at, b in both if b.get("method") == "notifications/progress"]


class Driver:
    """One connected client and its checks."""

    def __init__(self, client: Client, wire: Wire, roots: list[Path]) -> None:
        self.client = client
        self.wire = wire
        self.roots = roots

    async def check(self, run: Callable[[], Awaitable[None]]) -> None:
        """Runs one check; its name is its method's."""
        name = run.__name__
        try:
            with anyio.fail_after(3 * PATIENCE_S):
                await run()
        except Exception:
            report(name, traceback.format_exc(limit=-3))
        else:
            report(name)

    async def call(self, tool: str, /, **arguments: object) -> mcp_types.CallToolResult:
        """A call and its result, whatever it says."""
        return await self.client.call_tool(tool, arguments, read_timeout_seconds=2 * PATIENCE_S)

    async def ok(
        self, tool: str, schema: dict[str, Any], /, **arguments: object
    ) -> tuple[dict[str, Any], str]:
        """A call that succeeds: structured content, which keeps the contract, and text."""
        result = await self.call(tool, **arguments)
        text = words(result)
        if result.is_error:
            raise AssertionError(f"{tool} failed: {text}")
        jsonschema.validate(result.structured_content, schema)
        return result.structured_content, text

    async def statement(self, tool: str, /, **arguments: object) -> tuple[dict[str, Any], str]:
        """A call that succeeds with a statement."""
        return await self.ok(tool, STATEMENT, **arguments)

    async def fails(self, tool: str, expected: str, /, **arguments: object) -> dict[str, Any]:
        """A call that fails in this way: the same facts as text and as structured content."""
        result = await self.call(tool, **arguments)
        failure = result.structured_content
        if not result.is_error:
            raise AssertionError(f"{tool} succeeded: {words(result)}")
        jsonschema.validate(failure, FAILURE)
        same(failure["code"], expected)
        has(words(result), expected, failure["hint"], failure["error_id"])
        return failure

    # --- what a client asks first

    async def the_era_is_the_one_asked_for(self) -> None:
        same(self.client.protocol_version, VERSION[ERA])
        session = self.client.session
        same(
            (session.initialize_result is not None, session.discover_result is not None),
            (ERA == "legacy", ERA == "modern"),
        )
        first = self.wire.bodies()[0]["result"]
        same("supportedVersions" in first, ERA == "modern")

    async def the_server_says_who_it_is(self) -> None:
        same(self.client.server_info.name, "sparklease")
        has(self.client.instructions, "query_sql", "run_pyspark", "get_statement", "open_session")
        capabilities = self.client.server_capabilities
        same(
            (
                None not in (capabilities.tools, capabilities.resources, capabilities.prompts),
                capabilities.logging,
                capabilities.tasks if hasattr(capabilities, "tasks") else None,
            ),
            (True, None, None),
        )

    async def the_tools_are_listed_in_order(self) -> None:
        first = await self.client.list_tools(cache_mode="bypass")
        again = await self.client.list_tools(cache_mode="bypass")
        same([tool.name for tool in first.tools], list(TOOLS))
        same(again.tools, first.tools)
        same(first.next_cursor, None)

    async def annotations_say_what_a_tool_may_do(self) -> None:
        found = {}
        for tool in (await self.client.list_tools()).tools:
            said = tool.annotations
            found[tool.name] = (
                said.read_only_hint,
                said.destructive_hint,
                said.idempotent_hint,
                said.open_world_hint,
            )
            if not tool.title or not tool.description:
                raise AssertionError(f"{tool.name} lacks a title or a description")
        same(found, {t: (t in READS, t in CHANGES, t in IDEMPOTENT, False) for t in TOOLS})

    async def schemas_are_closed_and_rooted_in_an_object(self) -> None:
        for tool in (await self.client.list_tools()).tools:
            schema = tool.input_schema
            jsonschema.Draft202012Validator.check_schema(schema)
            same((tool.name, schema["type"], schema["additionalProperties"]), (tool.name, "object", False))
            same(sorted(set(schema.get("required", [])) - set(schema["properties"])), [])
            same((tool.name, tool.output_schema), (tool.name, None))

    # --- each tool

    async def query_sql_returns_rows_with_names_and_types(self) -> None:
        found, text = await self.statement(
            "query_sql", sql="select 7 as n, 'a\"b' as s, cast(null as int) as z, '' as e"
        )
        columns = [("n", "int"), ("s", "string"), ("z", "int"), ("e", "string")]
        same([(c["name"], c["type"]) for c in found["columns"]], columns)
        same(
            (found["status"], found["target"], found["row_count"], found["truncated"]),
            ("succeeded", TARGET, 1, False),
        )
        has(text, '7,"a""b",,""')

    async def query_sql_binds_values_by_name_and_by_place(self) -> None:
        _, named = await self.statement(
            "query_sql", sql="select :a + 1 as n, :b as s", params={"a": 41, "b": "x'y"}
        )
        has(named, "42,x'y")
        _, placed = await self.statement("query_sql", sql="select ? + 1 as n, ? as s", params=[41, "x'y"])
        has(placed, "42,x'y")

    async def query_sql_writes_other_formats(self) -> None:
        _, text = await self.statement("query_sql", sql="select 5 as five", format="markdown")
        has(text, "| five int |", "| 5 |")
        _, text = await self.statement("query_sql", sql="select 5 as five", format="json")
        has(text, '"five"', "5")

    async def query_sql_refuses_what_writes(self) -> None:
        failure = await self.fails("query_sql", "policy_denied", sql="drop table t")
        same(failure["retryable"], False)
        has(failure["hint"], "run_sql")

    async def query_sql_reads_files_of_allowed_folders_only(self) -> None:
        inside, outside = self.roots
        query = "select sum(price) as total from orders"
        found, text = await self.statement(
            "query_sql", sql=query, files={"orders": str(inside / "orders.csv")}
        )
        same(found["row_count"], 1)
        has(text, "12.5")
        failure = await self.fails(
            "query_sql", "invalid_argument", sql=query, files={"orders": str(outside / "orders.csv")}
        )
        has(failure["message"], "outside the allowed folders")

    async def run_sql_and_run_pyspark_share_a_named_session(self) -> None:
        opened, _ = await self.ok("open_session", SESSION, name="shared")
        same((opened["session"], opened["target"], opened["state"]), ("shared", TARGET, "free"))
        await self.statement("run_sql", sql="create temp view v as select 20 as x", session="shared")
        await self.statement("run_pyspark", code="kept = 22", session="shared")
        found, text = await self.statement(
            "run_pyspark", code="spark.table('v').collect()[0].x + kept", session="shared"
        )
        same((found["session"], found["status"]), ("shared", "succeeded"))
        has(text, "42")
        _, text = await self.statement("query_sql", sql="select x + 1 as y from v", session="shared")
        has(text, "21")
        listed, _ = await self.ok("list_sessions", SESSIONS)
        named = [(s["session"], s["statements"]) for s in listed["sessions"] if s["session"]]
        same(named, [("shared", 4)])
        closed, _ = await self.ok("close_session", SESSION, session="shared")
        same(closed["session"], "shared")
        failure = await self.fails("run_pyspark", "session_lost", code="kept", session="shared")
        has(failure["hint"], "open_session")

    async def write_table_says_what_it_wrote_or_writes_nothing(self) -> None:
        inside, outside = self.roots
        table = {"table": "written here"}
        rows = [{"id": 1, "note": "a"}, {"id": 2, "note": None}]
        found, text = await self.statement("write_table", mode="error", rows=rows, **table)
        written = found["written"]
        same((written["rows"], written["created"], written["format"]), (2, True, "delta"))
        has(text, "2 rows", "new table")
        more = {"rows": {"columns": ["ID"], "rows": [[2], [3]]}, "keys": ["id"]}
        found, _ = await self.statement("write_table", mode="merge", **more, **table)
        same((found["written"]["mode"], found["written"]["version"]), ("merge", written["version"] + 1))
        failure = await self.fails(
            "write_table", "invalid_argument", mode="appned", file=str(outside / "orders.csv"), **table
        )
        has(failure["message"], "did you mean append?", "outside the allowed folders")
        await self.fails("write_table", "already_exists", mode="error", rows=rows, **table)
        await self.statement("write_table", mode="overwrite", file=str(inside / "orders.csv"), **table)

    async def run_pyspark_returns_text_rows_and_figures(self) -> None:
        code = "print('said')\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nspark.range(3).toDF('id')"
        result = await self.call("run_pyspark", code=code)
        found = result.structured_content
        jsonschema.validate(found, STATEMENT)
        same([(c["name"], c["type"]) for c in found["columns"]], [("id", "bigint")])
        same(found["row_count"], 3)
        has(words(result), "said")
        images = [block for block in result.content if block.type == "image"]
        same([image.mime_type for image in images], ["image/png"])
        same(base64.b64decode(images[0].data)[:8], b"\x89PNG\r\n\x1a\n")

    async def run_pyspark_starts_afresh_without_a_session(self) -> None:
        await self.statement("run_pyspark", code="gone = 1")
        failure = await self.fails("run_pyspark", "statement_failed", code="gone")
        same(failure["details"]["error_class"], "NameError")

    async def a_failure_of_user_code_shows_the_users_lines(self) -> None:
        failure = await self.fails("run_pyspark", "statement_failed", code="def f():\n    return 1 / 0\nf()")
        same(failure["details"]["error_class"], "ZeroDivisionError")
        has(failure["details"]["traceback"], "return 1 / 0", "line 2")
        result = await self.call("get_statement", statement=failure["statement"])
        same((result.is_error, result.structured_content), (True, failure))

    async def get_statement_pages_through_rows(self) -> None:
        found, _ = await self.statement("query_sql", sql="select id from range(5) order by id", max_rows=2)
        same((found["row_count"], found["truncated"]), (2, True))
        seen, pages = found["row_count"], 1
        while "next" in found:
            arguments = literal_call("get_statement", found["next"])
            found, text = await self.statement("get_statement", **arguments)
            seen, pages = seen + found["row_count"], pages + 1
        same((seen, pages, found["truncated"]), (5, 3, False))
        has(text, "\n4\n")

    async def work_outlives_wait_s_and_get_statement_waits_for_it(self) -> None:
        started, _ = await self.statement("run_pyspark", code="import time; time.sleep(2); 'late'", wait_s=0)
        if started["status"] not in ("queued", "running"):
            raise AssertionError(f"ended within no time: {started}")
        has(started["next"], "get_statement", started["statement"])
        found, text = await self.statement("get_statement", statement=started["statement"], wait_s=PATIENCE_S)
        same((found["status"], found["statement"]), ("succeeded", started["statement"]))
        has(text, "late")

    async def cancel_statement_confirms_the_end(self) -> None:
        started, _ = await self.statement("run_pyspark", code="while True: pass", wait_s=0)
        result = await self.call("cancel_statement", statement=started["statement"])
        has(words(result), "cancelled")
        first = unmarked(result.structured_content)
        again = await self.call("cancel_statement", statement=started["statement"])
        same(unmarked(again.structured_content), first)
        seen = await self.call("get_statement", statement=started["statement"])
        same(unmarked(seen.structured_content), first)

    async def the_clients_cancel_ends_the_work(self) -> None:
        await self.ok("open_session", SESSION, name="loop")
        since = len(self.wire.arrived)
        cancelled = False

        async def look(*_: object) -> None:
            scope.cancel()

        with anyio.CancelScope() as scope:
            await self.client.call_tool(
                "run_pyspark", {"code": "while True: pass", "session": "loop"}, progress_callback=look
            )
        cancelled = scope.cancelled_caught
        same((cancelled, len(self.wire.notices(since)) >= 1), (True, True))
        with anyio.fail_after(PATIENCE_S):
            while True:
                listed, _ = await self.ok("list_sessions", SESSIONS)
                states = [s["state"] for s in listed["sessions"] if s["session"] == "loop"]
                if states != ["busy"]:
                    break
                await anyio.sleep(0.05)
        same(states, ["free"])
        _, text = await self.statement("run_pyspark", code="6 * 7", session="loop")
        has(text, "42")
        await self.ok("close_session", SESSION, session="loop")

    async def progress_grows_keeps_coming_and_ends_with_the_call(self) -> None:
        since, begun = len(self.wire.arrived), time.monotonic()
        told: list[float] = []

        async def look(progress: float, total: float | None, message: str | None) -> None:
            told.append(progress)
            if total is not None or not message:
                raise AssertionError(f"a total that nobody knows, or no message: {total} {message}")

        await self.client.call_tool(
            "run_pyspark", {"code": "import time; time.sleep(8)"}, progress_callback=look
        )
        ended = time.monotonic()
        notices = self.wire.notices(since)
        values = [params["progress"] for _, params in notices]
        same(values, sorted(set(values)))
        same(told, values)
        moments = [begun, *[at for at, _ in notices], ended]
        longest = max(b - a for a, b in zip(moments, moments[1:]))
        if len(notices) < 3 or longest > NOTICE_EVERY_S:
            raise AssertionError(f"{len(notices)} notices, the longest silence {longest:.1f} s")
        tokens = {params["progressToken"] for _, params in notices}
        same(len(tokens), 1)
        # A further call of several seconds: time enough for a notice of the one that has ended.
        since = len(self.wire.arrived)
        await self.statement("run_pyspark", code="import time; time.sleep(4)")
        same(self.wire.notices(since), [])

    # --- tables

    async def list_tables_finds_a_table_and_tells_its_columns(self) -> None:
        await self.statement("run_sql", sql="create database if not exists shop")
        sql = "create table shop.orders using delta as select 1 as id, 'x' as note"
        await self.statement("run_sql", sql=sql)
        found, text = await self.ok("list_tables", TABLES, pattern="shop.*")
        same([table["name"] for table in found["tables"]], ["shop.orders"])
        has(text, "shop.orders", 'detail="columns"')
        found, _ = await self.ok("list_tables", TABLES, pattern="orders", detail="stats")
        (table,) = found["tables"]
        same((table["rows"], [column["name"] for column in table["columns"]]), (1, ["id", "note"]))
        await self.fails("list_tables", "invalid_argument", detail="all", cursor="100")

    async def a_table_is_a_resource_with_the_words_of_the_tool(self) -> None:
        (template,) = (await self.client.list_resource_templates()).resource_templates
        has(template.uri_template, "spark://")
        resources = (await self.client.list_resources()).resources
        uri = next(resource.uri for resource in resources if resource.name == "shop.orders")
        (content,) = (await self.client.read_resource(uri)).contents
        has(content.text, "shop.orders", "id int", "note string")
        try:
            await self.client.read_resource(f"spark://{TARGET}/shop.nothing")
        except MCPError as error:
            has(error.message, "list_tables")
        else:
            raise AssertionError("it succeeded")

    async def the_prompt_tells_what_is_known_of_the_table(self) -> None:
        (prompt,) = (await self.client.list_prompts()).prompts
        same(prompt.name, "explore_table")
        result = await self.client.get_prompt("explore_table", {"table": "shop.orders"})
        has(result.messages[0].content.text, "shop.orders", "id int", "query_sql")

    # --- errors

    async def bad_arguments_are_reported_together(self) -> None:
        failure = await self.fails(
            "query_sql", "invalid_argument", sql=" ", max_rows=0, target="nope", wait_s=-1, formt="csv"
        )
        has(failure["message"], "sql is empty", "max_rows", '"nope"', "wait_s", "did you mean format?")

    async def what_is_not_there_names_the_next_call(self) -> None:
        failure = await self.fails("run_pyspark", "not_found", code="1", session="never")
        has(failure["hint"], 'open_session(name="never"')
        await self.fails("get_statement", "not_found", statement="st_none")
        await self.fails("cancel_statement", "not_found", statement="st_none")
        await self.fails("close_session", "not_found", session="never")

    async def a_tool_that_is_not_there_is_a_protocol_error(self) -> None:
        try:
            await self.client.session.call_tool("no_such_tool", {})
        except MCPError as error:
            same(error.code, mcp_types.INVALID_PARAMS)
            has(error.message, "no_such_tool", "query_sql")
        else:
            raise AssertionError("it succeeded")

    async def stdout_carries_messages_only(self) -> None:
        code = "import os\nos.write(1, b'raw\\n')\nos.system('echo below')\nprint('said')"
        _, text = await self.statement("run_pyspark", code=code)
        has(text, "raw", "below", "said")
        same({body["jsonrpc"] for body in self.wire.bodies()}, {"2.0"})


def words(result: mcp_types.CallToolResult) -> str:
    """The text of a result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def unmarked(found: dict[str, Any]) -> dict[str, Any]:
    """Without the marks that fence data, which are others in each answer."""
    return {**found, "text": re.sub(r"\b[0-9a-f]{16}\b", "MARK", found["text"])}


def literal_call(tool: str, text: str) -> dict[str, Any]:
    """The arguments of the call that `next` spells out, read as Python would."""
    start = text.index(tool + "(")
    end = text.index(")", start) + 1
    return eval(text[start:end], {"__builtins__": {}}, {tool: lambda **arguments: arguments})


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent, and what tells it from a later one with the same number."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True
    )
    table = {}
    for line in listed.stdout.splitlines():
        pid, parent, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            table[int(pid)] = (int(parent), started)
    return table


def descendants() -> dict[int, str]:
    """Our children and theirs."""
    table, found, wave = processes(), {}, [os.getpid()]
    while wave:
        wave = [pid for pid, (parent, _) in table.items() if parent in wave and pid not in found]
        found.update({pid: table[pid][1] for pid in wave})
    return found


async def prepare(client: Client) -> None:
    """One query, however long its engine takes to be installed."""
    with anyio.fail_after(INSTALL_S):
        tool, arguments = "query_sql", {"sql": "select 1 as one"}
        while True:
            result = await client.call_tool(tool, arguments)
            found = result.structured_content
            if result.is_error or found["status"] == "succeeded":
                break
            tool, arguments = "get_statement", {"statement": found["statement"], "wait_s": PATIENCE_S}
    report("the_engine_is_ready", words(result) if result.is_error else "")


async def drive() -> None:
    """Connects, runs every check, leaves, and looks at what is left."""
    working, offered = FOLDER / "working", FOLDER / "offered"
    for folder in (working, offered):
        folder.mkdir()
        (folder / "orders.csv").write_text("id,price\n1,4.5\n2,8.0\n")
    # Roots exist in 2025-11-25 alone; without them the working directory is the allowed folder.
    roots = [offered, working] if ERA == "legacy" else [working, offered]

    async def list_roots(*_: object) -> mcp_types.ListRootsResult:
        return mcp_types.ListRootsResult(roots=[mcp_types.Root(uri=offered.as_uri(), name="offered")])

    log, wire = FOLDER / "stderr.log", Wire()
    server = StdioServerParameters(command=BINARY, args=["mcp"], env=dict(os.environ), cwd=str(working))
    transport = wire.connect(server, log)
    # By itself the SDK asks server/discover first and takes the newest version that both sides speak.
    mode = "legacy" if ERA == "legacy" else "auto"
    async with Client(transport, mode=mode, cache=None, list_roots_callback=list_roots) as client:
        if ERA == "prepare":
            await prepare(client)
            return
        driver = Driver(client, wire, roots)
        # In the order of this file.
        for name, method in vars(Driver).items():
            helps = name.startswith("_") or name in ("check", "call", "ok", "statement", "fails")
            if not helps and name not in LEFT_OUT:
                await driver.check(method.__get__(driver))
        running = descendants()
        begun = time.monotonic()
    took = time.monotonic() - begun
    name = "the_server_leaves_nothing_when_its_input_ends"
    left = {pid for pid, started in running.items() if processes().get(pid, (0, ""))[1] == started}
    # The SDK ends by force what is there 2 s after it closed the input.
    slow = f"the end took {took:.1f} s" if took > 2 else ""
    report(name, slow if not left else f"processes {sorted(left)} are left; {log.read_text()[-2000:]}")


if __name__ == "__main__":
    asyncio.run(drive())
    sys.exit(1 if failed else 0)
