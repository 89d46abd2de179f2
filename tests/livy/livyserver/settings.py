"""The flags of the server, with the defaults of Apache Livy 0.9.0 where it has the setting."""

import argparse
from dataclasses import dataclass, field, fields
from typing import Any, Optional


def flag(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass
class Settings:
    """One flag each: `start_seconds` is `--start-seconds`. A bool is a flag without a value."""

    host: str = flag("127.0.0.1", "address to listen on")
    port: int = flag(0, "port to listen on; 0 takes a free one and prints it")
    base_path: str = flag("", "path before every route, as behind a gateway: /livy")
    livy_version: str = flag("0.9.0-incubating", "0.7 refuses ttl and idleTimeout, 0.8 refuses idleTimeout")
    interpreter: str = flag("python", "what runs statements", choices=("python", "scripted"))
    engine: str = flag("none", "the Spark of `python`", choices=("none", "sail", "jvm"))
    faults: str = flag("", "file with a JSON list of fault rules, in force from the start")
    script: str = flag("", "file with a JSON list of answers for `scripted`")
    events: str = flag("", "file that the event log is also appended to, line by line")
    first_id: int = flag(0, "id of the first session")
    seed: int = flag(0, "of the fault rules that have a chance")

    start_seconds: float = flag(0.0, "a session stays `starting` at least so long")
    start_timeout: float = flag(90.0, "livy.rsc.server.connect.timeout: then it is dead")
    max_creation: int = flag(100, "livy.server.session.max-creation: counts all live sessions")
    watchdog_seconds: float = flag(60.0, "interval of the heartbeat watchdog")
    heartbeat_scale: float = flag(1.0, "multiplies every heartbeatTimeoutInSecond, for short tests")
    gc_seconds: float = flag(60.0, "interval of the timeout check; hard-coded on a real server")
    session_timeout: float = flag(3600.0, "livy.server.session.timeout in seconds")
    skip_busy: bool = flag(False, "livy.server.session.timeout-check.skip-busy")
    ttl_check: bool = flag(False, "livy.server.session.ttl-check: without it ttl is not enforced")
    retain_seconds: float = flag(600.0, "livy.server.session.state-retain: a dead session stays so long")
    shutdown_timeout: float = flag(10.0, "livy.rsc.client.shutdown-timeout: then the driver is killed")
    stop_seconds: float = flag(0.0, "a DELETE of an idle session takes at least so long")
    job_cancel_timeout: float = flag(30.0, "livy.rsc.job-cancel.timeout")
    dead_lag: float = flag(0.2, "seconds between a driver's death and the state `dead`")
    orphan_seconds: float = flag(600.0, "a driver that lost its server ends so much later")
    retained_statements: int = flag(100, "livy.rsc.retained-statements")
    rpc_max_bytes: int = flag(52428800, "livy.rsc.rpc.max.size")
    rpc_stall_seconds: float = flag(400.0, "a GET above it is not answered for so long")
    max_string: int = flag(20_000_000, "longest string in an interpreter's reply")
    sql_rows: int = flag(1000, "livy.rsc.sql.num-rows")
    log_lines: int = flag(200, "livy.cache-log.size")
    sleep_scale: float = flag(1.0, "multiplies time.sleep in the interpreter, to replay recordings")

    csrf: bool = flag(False, "livy.server.csrf-protection.enabled")
    auth: str = flag(
        "none", "secret in LIVY_TEST_SECRET: user:password or a token", choices=("none", "basic", "bearer")
    )
    require_header: str = flag("", "NAME=VALUE that every request must carry, else 403")
    tls_cert: str = flag("", "PEM file: serve https")
    tls_key: str = flag("", "PEM file of its key")
    redirect_to: str = flag("", "answer everything with 301 to this address plus the path")


def parse(arguments: Optional[list[str]] = None) -> Settings:
    parser = argparse.ArgumentParser(
        description="a Livy-compatible server for tests; see tests/livy/README.md"
    )
    for item in fields(Settings):
        name = "--" + item.name.replace("_", "-")
        text = f"{item.metadata['help']} (default: {item.default or 'none'})"
        if item.type is bool or item.type == "bool":
            parser.add_argument(name, action="store_true", help=item.metadata["help"])
            continue
        kind = type(item.default)
        choices = item.metadata.get("choices")
        parser.add_argument(name, type=kind, default=item.default, help=text, choices=choices)
    return Settings(**vars(parser.parse_args(arguments)))
