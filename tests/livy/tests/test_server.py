"""Names, clocks, ends and limits on real interpreters without an engine; sign-in, TLS and redirects."""

import base64
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

from livy_server import Server, wait_for

QUICK = ("--watchdog-seconds", "0.05", "--gc-seconds", "0.05", "--shutdown-timeout", "0.5")


def alive(pid):
    """Not a zombie; whatever `environ` says."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Names(unittest.TestCase):
    def test_ids_begin_at_zero_and_are_burnt_by_refused_names(self):
        with Server() as server:
            self.assertEqual(server.post("/sessions", {"name": "a"}).body["id"], 0)
            reply = server.post("/sessions", {"name": "a"})
            self.assertEqual(
                reply.body, {"msg": "Rejected, Reason: Duplicate session name: Some(a) for session 1"}
            )
            for name in ("123", ""):
                reply = server.post("/sessions", {"name": name})
                self.assertEqual(reply.body, {"msg": f"Rejected, Reason: Invalid session name: {name}"})
            self.assertEqual(server.post("/sessions", {"name": "b"}).body["id"], 4)
            self.assertEqual(server.get("/sessions").body["total"], 2)

    def test_driver_of_an_invalid_name_is_leaked(self):
        with Server("--orphan-seconds", "0.5") as server:
            server.post("/sessions", {"name": "7"})
            leaked = wait_for(lambda: server.processes(0)["alive"])
            self.assertFalse(server.processes(0)["listed"])
            wait_for(lambda: not any(alive(pid) for pid in leaked))

    def test_any_text_is_a_name(self):
        with Server() as server:
            name = "é ∑/😀 " + "x" * 200
            server.open(name=name)
            quoted = urllib.parse.quote(name, safe="")
            self.assertEqual(server.call("GET", f"/sessions/{quoted}").body["name"], name)

    def test_fields_follow_the_version(self):
        for version, field in (("0.7.1", "ttl"), ("0.8.0", "idleTimeout")):
            with Server("--livy-version", version) as server:
                self.assertIn("Unrecognized field", server.post("/sessions", {field: "30m"}).body)

    def test_fields_of_a_wrong_type_are_refused(self):
        with Server() as server:
            for field, value, status in (("conf", "x", 400), ("jars", "x", 400), ("driverCores", "x", 500)):
                self.assertEqual(server.post("/sessions", {field: value}).status, status)
            reply = server.post("/sessions", {"name": 5})
            self.assertEqual(reply.body, {"msg": "Rejected, Reason: Invalid session name: 5"})
            self.assertEqual(server.post("/sessions", raw=b"null").status, 500)

    def test_restart_begins_at_zero_with_names_free(self):
        with Server() as server:
            server.open(name="a")
            pids = server.processes(0)["alive"]
            server.post("/__test/restart", {"orphan_seconds": 0.1})
            self.assertEqual(server.get("/sessions").body["total"], 0)
            self.assertEqual(server.post("/sessions", {"name": "a"}).body["id"], 0)
            wait_for(lambda: not any(alive(pid) for pid in pids))


class Clocks(unittest.TestCase):
    def gone(self, server, session):
        wait_for(lambda: [e for e in server.events("gone") if e["session"] == session])
        return next(e for e in server.events("gone") if e["session"] == session)["why"]

    def test_heartbeat_ends_a_silent_session_even_while_it_starts_or_is_busy(self):
        with Server(*QUICK, "--heartbeat-scale", "0.3", "--start-seconds", "0") as server:
            server.open(name="busy", heartbeatTimeoutInSecond=1)
            server.start("busy", "while True: pass")
            self.assertEqual(self.gone(server, 0), "heartbeat")
        with Server(*QUICK, "--heartbeat-scale", "0.3", "--start-seconds", "30") as server:
            server.post("/sessions", {"heartbeatTimeoutInSecond": 1})
            self.assertEqual(self.gone(server, 0), "heartbeat")

    def test_calls_of_the_session_are_heartbeats_and_the_list_is_none(self):
        with Server(*QUICK, "--heartbeat-scale", "0.6") as server:
            server.open(name="kept", heartbeatTimeoutInSecond=1)
            server.open(name="left", heartbeatTimeoutInSecond=1)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                server.get("/sessions")
                server.get("/sessions/kept/state")
                time.sleep(0.05)
            self.assertEqual([e["name"] for e in server.events("gone")], ["left"])

    def test_idle_time_ends_busy_sessions_too_and_only_connect_counts(self):
        with Server(*QUICK, "--session-timeout", "0.6") as server:
            for name in ("polled", "kept"):
                server.open(name=name)
                server.start(name, "import time; time.sleep(3600)")
            server.open(name="own", idleTimeout="1h")
            until = time.monotonic() + 2
            while time.monotonic() < until:
                server.get("/sessions/polled")
                server.post("/sessions/kept/connect")
                time.sleep(0.05)
            self.assertEqual([(e["name"], e["why"]) for e in server.events("gone")], [("polled", "idle")])

    def test_ttl_counts_only_where_it_is_checked(self):
        for flags, left in (((), 1), (("--ttl-check",), 0)):
            with Server(*QUICK, *flags) as server:
                server.open(ttl="300ms")
                until = time.monotonic() + 1
                while time.monotonic() < until:
                    server.post("/sessions/0/connect")
                    time.sleep(0.05)
                self.assertEqual(server.get("/sessions").body["total"], left)

    def test_dead_session_stays_for_a_while_and_keeps_its_name(self):
        with Server(*QUICK, "--retain-seconds", "0.5") as server:
            server.open(name="a")
            server.post("/__test/sessions/a/kill", {"what": "driver"})
            wait_for(lambda: server.get("/sessions/a").body["state"] == "dead")
            self.assertEqual(server.post("/sessions", {"name": "a"}).status, 400)
            self.assertEqual(self.gone(server, 0), "retained long enough")


class Ends(unittest.TestCase):
    def test_delete_of_an_idle_session_leaves_no_process(self):
        with Server() as server:
            session = server.open()
            server.run(session, "1")
            pids = server.processes(session)["alive"]
            self.assertEqual(len(pids), 2)
            self.assertEqual(server.delete(f"/sessions/{session}").body, {"msg": "deleted"})
            self.assertEqual(server.get(f"/sessions/{session}").status, 404)
            self.assertFalse(any(alive(pid) for pid in pids))

    def test_delete_of_busy_python_kills_the_driver_and_leaves_an_orphan(self):
        with Server(*QUICK) as server:
            session = server.open()
            server.start(session, "import subprocess; subprocess.run(['sleep', '3600'])")
            path = f"/sessions/{session}/statements/0"
            wait_for(lambda: server.get(path).body["state"] == "running")
            pids = server.processes(session)["pids"]
            wait_for(lambda: len(server.processes(session)["alive"]) == 3)
            answers = {}
            threads = [
                threading.Thread(target=lambda n=n: answers.update({n: server.delete("/sessions/0").status}))
                for n in range(2)
            ]
            for thread in threads:
                thread.start()
            wait_for(lambda: server.get("/sessions/0/state").body.get("state") == "shutting_down")
            reply = server.get(path)
            self.assertEqual(
                (reply.status, reply.body), (400, {"msg": "requirement failed: Session isn't active."})
            )
            reply = server.post("/sessions/0/statements", {"code": "1"})
            self.assertEqual(
                (reply.status, reply.body),
                (500, "java.lang.IllegalStateException: Session is in state shutting_down"),
            )
            for thread in threads:
                thread.join()
            self.assertEqual(answers, {0: 200, 1: 200})
            self.assertEqual(server.delete("/sessions/0").status, 404)
            self.assertFalse(alive(pids["driver"]))
            self.assertTrue(alive(pids["python"]))
            self.assertNotEqual(
                Path(f"/proc/{pids['python']}/stat").read_text().split()[3], str(pids["driver"])
            )
            self.assertEqual(len(server.processes(session)["alive"]), 2)
            left = server.processes(session)["alive"]
        self.assertFalse(any(alive(pid) for pid in left))

    def test_code_that_watches_its_parent_leaves_no_orphan(self):
        watch = (
            "import os, threading, time\nparent = os.getppid()\n"
            "def watch():\n    while os.getppid() == parent:\n        time.sleep(0.02)\n    os._exit(0)\n"
            "threading.Thread(target=watch, daemon=True).start()\n"
        )
        with Server(*QUICK) as server:
            session = server.open()
            server.run(session, watch)
            server.start(session, "while True: pass")
            wait_for(lambda: server.get("/sessions/0/statements/1").body["state"] == "running")
            server.delete("/sessions/0")
            wait_for(lambda: not server.processes(session)["alive"])

    def test_delete_while_starting_is_quick_and_clean(self):
        with Server("--start-seconds", "60") as server:
            server.post("/sessions", {})
            wait_for(lambda: server.processes(0)["alive"])
            self.assertEqual(
                server.post("/sessions/0/statements", {"code": "1", "kind": "pyspark"}).status, 500
            )
            self.assertEqual(server.delete("/sessions/0").status, 200)
            wait_for(lambda: not server.processes(0)["alive"])

    def test_end_of_the_server_ends_what_left_the_group_and_the_environment(self):
        hide = (
            "import subprocess, sys\n"
            "a = subprocess.Popen(['sleep', '3601'], start_new_session=True, stdout=subprocess.DEVNULL).pid\n"
            "b = subprocess.Popen(['sleep', '3602'], env={}, stdout=subprocess.DEVNULL).pid\na, b"
        )
        with Server() as server:
            session = server.open()
            text = server.run(session, hide)["data"]["text/plain"]
            pids = [int(part) for part in text.strip("()").split(",")]
            self.assertTrue(set(pids) <= set(server.processes(session)["alive"]))
        self.assertFalse(any(alive(pid) for pid in pids))

    def test_killed_server_takes_its_drivers_with_it(self):
        server = Server()
        session = server.open()
        server.start(session, "while True: pass")
        pids = wait_for(lambda: server.processes(session)["alive"])
        folder = Path(f"/proc/{pids[0]}/cwd").readlink().parent
        server.process.kill()
        server.process.wait()
        server.process.stdin.close()
        server.process.stdout.close()
        wait_for(lambda: not any(alive(pid) for pid in pids))
        self.assertFalse(folder.exists())


class Statements(unittest.TestCase):
    def test_only_a_hundred_are_kept(self):
        with Server() as server:
            session = server.open()
            for number in range(102):
                server.run(session, str(number))
            self.assertEqual(server.get(f"/sessions/{session}/statements").body["total_statements"], 100)
            reply = server.get(f"/sessions/{session}/statements/1")
            self.assertEqual((reply.status, reply.body), (404, "Statement not found"))

    def test_two_lines_of_noise_shift_replies_by_one_statement(self):
        with Server() as server:
            session = server.open()
            noise = server.run(session, "import os; os.write(1, b'hello\\nyou\\n')")
            self.assertEqual(noise["ename"], "com.fasterxml.jackson.core.JsonParseException")
            texts = [server.run(session, code)["data"]["text/plain"] for code in ("'F'", "'G'", "'H'")]
            self.assertEqual(texts[1:], ["'F'", "'G'"])

    def test_forged_reply_is_believed(self):
        forged = (
            '{"msg_type": "execute_reply", "content": {"status": "ok", "data": {"text/plain": "forged"}}}'
        )
        with Server() as server:
            session = server.open()
            output = server.run(session, f"import os; os.write(1, {forged!r}.encode() + b'\\n')")
            self.assertEqual(output["data"], {"text/plain": "forged"})

    def test_cancelled_statement_gets_its_output_later(self):
        with Server("--job-cancel-timeout", "0.2") as server:
            session = server.open()
            number = server.start(session, "import time; time.sleep(1.5); 'slept'")
            path = f"/sessions/{session}/statements/{number}"
            wait_for(lambda: server.get(path).body["state"] == "running")
            self.assertEqual(server.post(path + "/cancel").body, {"msg": "canceled"})
            body = wait_for(lambda: (b := server.get(path).body)["state"] == "cancelled" and b)
            self.assertIsNone(body["output"])
            self.assertEqual(server.run(session, "'next'")["data"], {"text/plain": "'next'"})
            self.assertEqual(server.get(path).body["output"]["data"], {"text/plain": "'slept'"})

    def test_long_strings_fail_and_the_session_lives(self):
        with Server("--max-string", "1000") as server:
            session = server.open()
            output = server.run(session, "print('x' * 1001)")
            self.assertEqual(output["ename"], "com.fasterxml.jackson.core.exc.StreamConstraintsException")
            self.assertEqual(output["evalue"], "String length (1001) exceeds the maximum length (1000)")
            self.assertEqual(server.run(session, "1")["data"], {"text/plain": "1"})

    def test_message_above_the_channel_limit_is_never_answered_and_closes_it(self):
        with Server("--rpc-max-bytes", "5000", "--orphan-seconds", "0.3") as server:
            session = server.open()
            server.start(session, "print('x' * 6000)")
            pids = server.processes(session)["alive"]
            path = f"/sessions/{session}/statements/0"
            time.sleep(0.3)
            with self.assertRaises(TimeoutError):
                server.call("GET", path, timeout=0.3)
            self.assertEqual(server.get(f"/sessions/{session}").body["state"], "idle")
            self.assertEqual(server.get(path).body, "java.util.concurrent.CancellationException")
            for _ in range(2):
                self.assertEqual(
                    server.get(path).body, "java.lang.IllegalStateException: RPC channel is closed."
                )
            self.assertEqual(server.delete(f"/sessions/{session}").body, {"msg": "deleted"})
            self.assertTrue(any(alive(pid) for pid in pids))
            wait_for(lambda: not any(alive(pid) for pid in pids))

    def test_code_above_the_channel_limit_is_refused_and_closes_it(self):
        with Server("--rpc-max-bytes", "5000") as server:
            session = server.open()
            reply = server.post(f"/sessions/{session}/statements", {"code": "#" * 6000})
            self.assertIn("exceeds maximum allowed size (5000 bytes).", reply.body)
            reply = server.post(f"/sessions/{session}/statements", {"code": "1"})
            self.assertEqual(reply.body, "java.lang.IllegalStateException: RPC channel is closed.")

    def test_progress_and_state_can_be_set_by_hand(self):
        with Server() as server:
            session = server.open()
            server.start(session, "import time; time.sleep(3600)")
            path = f"/sessions/{session}/statements/0"
            wait_for(lambda: server.get(path).body["state"] == "running")
            server.post(f"/__test/sessions/{session}/progress", {"progress": 0.25})
            self.assertEqual(server.get(path).body["progress"], 0.25)
            server.post(f"/__test/sessions/{session}/state", {"state": "recovering"})
            self.assertEqual(server.get(f"/sessions/{session}/state").body["state"], "recovering")


class Doors(unittest.TestCase):
    def test_basic_and_bearer_sign_in(self):
        secret = f"user:{secrets.token_hex(8)}"
        ways = {"basic": "Basic " + base64.b64encode(secret.encode()).decode(), "bearer": f"Bearer {secret}"}
        for way, header in ways.items():
            with Server("--auth", way, environment={"LIVY_TEST_SECRET": secret}) as server:
                reply = server.get("/sessions")
                self.assertEqual(reply.status, 401)
                self.assertIn("www-authenticate", reply.headers)
                self.assertEqual(
                    server.call("GET", "/sessions", headers={"Authorization": header}).status, 200
                )
                server.post("/__test/secret", {"secret": "another"})
                self.assertEqual(
                    server.call("GET", "/sessions", headers={"Authorization": header}).status, 401
                )

    def test_csrf_refusal_takes_three_forms(self):
        with Server("--csrf") as server:
            bare = {"X-Requested-By": None}
            html = server.post("/sessions", {}, headers={**bare, "Accept": "text/html"})
            self.assertIn("Missing Required Header for CSRF protection.", html.text)
            as_json = server.post("/sessions", {}, headers={**bare, "Accept": "application/json"})
            self.assertEqual(as_json.body["message"], "Missing Required Header for CSRF protection.")
            empty = server.call("DELETE", "/sessions/0", headers=bare)
            self.assertEqual((html.status, as_json.status, empty.status), (400, 400, 400))
            self.assertEqual(empty.raw, b"")

    def test_required_header_base_path_and_redirect(self):
        with Server("--require-header", "X-Pass=open", "--base-path", "/gateway/livy") as server:
            self.assertEqual(server.get("/gateway/livy/version").status, 403)
            reply = server.call("GET", "/gateway/livy/version", headers={"X-Pass": "open"})
            self.assertEqual(reply.body["version"], "0.9.0-incubating")
            self.assertEqual(server.call("GET", "/version", headers={"X-Pass": "open"}).status, 404)
        with Server("--redirect-to", "https://example.invalid") as server:
            reply = server.get("/sessions?size=1")
            self.assertEqual(
                (reply.status, reply.headers["location"]), (301, "https://example.invalid/sessions?size=1")
            )

    @unittest.skipUnless(shutil.which("openssl") or os.environ.get("CI"), "openssl is not installed")
    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = Path(folder, "key.pem"), Path(folder, "cert.pem")
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
            command += [
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                str(key),
                "-out",
                str(certificate),
            ]
            subprocess.run(command, check=True, capture_output=True)
            with Server("--tls-cert", str(certificate), "--tls-key", str(key)) as server:
                context = ssl.create_default_context(cafile=str(certificate))
                with urllib.request.urlopen(server.ready["url"] + "/version", context=context) as answer:
                    self.assertEqual(answer.status, 200)
                with self.assertRaises(OSError):
                    server.get("/version")

    def test_event_file_has_each_event_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "events.jsonl")
            with Server("--interpreter", "scripted", "--events", path) as server:
                server.open(name="a")
                self.assertIn('"event": "created"', Path(path).read_text("utf-8"))
