"""Every fault rule does what README.md says; the scripted interpreter; the event log."""

import http.client
import json
import socket
import time
import unittest

from livy_server import Server, wait_for

SCRIPTED = ("--interpreter", "scripted")
CREATE = {"method": "POST", "path": "/sessions"}


class Faults(unittest.TestCase):
    def setUp(self):
        self.server = Server(*SCRIPTED)
        self.addCleanup(self.server.close)

    def total(self):
        return self.server.get("/sessions").body["total"]

    def create(self, **fields):
        return self.server.post("/sessions", {"kind": "pyspark", **fields})

    def test_lost_request_creates_nothing(self):
        self.server.fault(fault="lose_request", **CREATE)
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.create()
        self.assertEqual(self.total(), 0)
        self.assertEqual(self.create().status, 201)

    def test_lost_reply_leaves_the_session(self):
        self.server.fault(fault="lose_reply", **CREATE)
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.create(name="tag-1")
        self.assertEqual(self.server.get("/sessions/tag-1").status, 200)
        reply = self.create(name="tag-1")
        self.assertEqual(
            reply.body, {"msg": "Rejected, Reason: Duplicate session name: Some(tag-1) for session 1"}
        )

    def test_delays_come_before_or_after_the_act(self):
        self.server.fault(fault="delay_request", seconds=0.2, **CREATE)
        self.server.fault(fault="delay_reply", seconds=0.2, nth=2, **CREATE)
        for _ in range(2):
            self.create()
        events = self.server.events("request", "created", "answered")
        kinds = [event["event"] for event in events][:6]
        self.assertEqual(kinds, ["request", "created", "answered"] * 2)
        late_act = events[1]["mono"] - events[0]["mono"]
        late_answer = events[5]["mono"] - events[4]["mono"]
        self.assertGreaterEqual(min(late_act, late_answer), 0.2)

    def test_late_apply_answers_an_error_and_creates_afterwards(self):
        self.server.fault(fault="late_apply", seconds=0.3, status=500, **CREATE)
        self.assertEqual(self.create(name="late").status, 500)
        self.assertEqual(self.total(), 0)
        wait_for(lambda: self.total() == 1)
        self.assertEqual(self.server.events("applied_late")[0]["status"], 201)

    def test_duplicate_creates_twice(self):
        self.server.fault(fault="duplicate", **CREATE)
        self.assertEqual(self.create().body["id"], 1)
        self.assertEqual(self.total(), 2)

    def test_answers_of_every_status_and_form(self):
        for status in (400, 401, 403, 404, 429, 430, 500, 502, 503):
            self.server.fault(fault="answer", status=status, json={"msg": "no"}, headers={"Retry-After": "7"})
            reply = self.create()
            self.assertEqual((reply.status, reply.body), (status, {"msg": "no"}))
            self.assertEqual(reply.headers["retry-after"], "7")
        self.server.fault(fault="answer", status=502, text="<html>bad gateway</html>")
        self.assertTrue(self.create().headers["content-type"].startswith("text/html"))
        self.server.fault(fault="answer", status=503)
        self.assertEqual(self.create().raw, b"")
        self.assertEqual(self.total(), 0)

    def test_answer_with_act_creates_all_the_same(self):
        self.server.fault(fault="answer", status=500, act=True, **CREATE)
        self.assertEqual(self.create().status, 500)
        self.assertEqual(self.total(), 1)

    def test_cut_and_wrong_length_break_the_body(self):
        for kind in ("cut", "wrong_length"):
            self.server.fault(fault=kind, method="GET", path="/sessions")
            with self.assertRaises(http.client.IncompleteRead):
                self.server.get("/sessions")
        self.assertEqual(self.total(), 0)

    def test_state_word_is_replaced(self):
        self.create()
        self.server.fault(fault="state_word", word="hibernating", path="/sessions/0")
        self.assertEqual(self.server.get("/sessions/0").body["state"], "hibernating")

    def test_planted_text_stands_where_the_rule_says(self):
        session = self.server.open()
        self.server.run(session, "1")
        path = "/sessions/0/statements/0"
        self.server.fault(fault="plant", text="s3cret", path=path)
        self.assertEqual(self.server.get(path).body["output"]["data"], {"text/plain": "s3cret"})
        self.server.fault(fault="plant", text="s3cret", where="header", path=path)
        self.assertEqual(self.server.get(path).headers["x-planted"], "s3cret")
        self.server.fault(fault="plant", text="s3cret", where="log", path="/sessions/0/log")
        self.assertEqual(self.server.get("/sessions/0/log").body["log"][-1], "s3cret")
        self.server.fault(fault="plant", text="s3cret", where="msg", status=403, path=path)
        reply = self.server.get(path)
        self.assertEqual((reply.status, reply.body), (403, {"msg": "s3cret"}))

    def test_half_open_keeps_the_connection_without_a_byte(self):
        self.server.fault(fault="half_open", act=True, **CREATE)
        with self.assertRaises(TimeoutError):
            self.server.post("/sessions", {"kind": "pyspark"}, timeout=0.3)
        self.assertEqual(self.total(), 1)

    def test_nth_times_and_body_choose_the_request(self):
        self.server.fault(fault="answer", status=503, body="wanted", nth=2, times=2)
        found = [self.create(name=f"{word}-{n}").status for n in range(4) for word in ("wanted", "other")]
        self.assertEqual(found, [201, 201, 503, 201, 503, 201, 201, 201])
        rule = self.server.get("/__test/faults").body[0]
        self.assertEqual((rule["seen"], rule["hit"]), (4, 2))

    def test_every_so_manieth_is_hit_from_the_first_on(self):
        self.server.fault(fault="answer", status=503, path="/version", nth=2, every=3, times=0)
        found = [self.server.get("/version").status for _ in range(9)]
        self.assertEqual([n for n, status in enumerate(found, 1) if status == 503], [2, 5, 8])

    def test_chance_hits_a_share_and_the_seed_repeats_it(self):
        found = []
        for _ in range(2):
            with Server(*SCRIPTED, "--seed", "7") as server:
                server.fault(fault="answer", status=503, times=0, chance=0.5)
                found.append([server.get("/version").status for _ in range(40)])
        self.assertEqual(found[0], found[1])
        self.assertEqual(set(found[0]), {200, 503})

    def test_unknown_rules_are_refused_and_removed_ones_do_nothing(self):
        self.assertEqual(self.server.post("/__test/faults", {"fault": "explode"}).status, 400)
        self.assertEqual(self.server.post("/__test/faults", [{"fault": "cut", "pth": "x"}]).status, 400)
        self.server.fault(fault="lose_request", times=0)
        self.server.delete("/__test/faults")
        self.assertEqual(self.total(), 0)

    def test_half_a_request_creates_nothing(self):
        body = json.dumps({"kind": "pyspark"}).encode()
        head = b"POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(body) + 5)
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.recv(100), b"")
        self.assertEqual(self.total(), 0)
        self.assertEqual(len(self.server.events("truncated")), 1)

    def test_chunked_requests_are_read(self):
        reply = self.server.call("POST", "/sessions", raw=iter([b'{"kind":', b'"pyspark"}']))
        self.assertEqual(reply.status, 201)


class Scripted(unittest.TestCase):
    def test_script_answers_waits_fails_and_dies(self):
        with Server(*SCRIPTED) as server:
            answers = [
                {"match": r"nonce=(\w+)", "text": r"<<\1>>"},
                {"match": "^table$", "data": {"application/json": {"a": 1}}},
                {"match": "^fail$", "ename": "ValueError", "evalue": "no"},
                {"match": "^slow$", "seconds": 5, "progress": [0.0, 0.5], "stops_on_cancel": True},
                {"match": "^upper", "python": "def answer(code, match):\n    return {'text': code.upper()}"},
                {"match": "^kill$", "die": "driver"},
            ]
            self.assertEqual(server.post("/__test/script", answers).status, 200)
            session = server.open()
            self.assertEqual(server.run(session, "x nonce=ab12")["data"], {"text/plain": "<<ab12>>"})
            self.assertEqual(server.run(session, "table")["data"], {"application/json": {"a": 1}})
            self.assertEqual(server.run(session, "fail")["ename"], "ValueError")
            self.assertEqual(server.run(session, "print('a'); 2 + 3 * 4")["data"], {"text/plain": "a\n14"})
            self.assertEqual(server.run(session, "upper")["data"], {"text/plain": "UPPER"})
            slow = server.start(session, "slow")
            path = f"/sessions/{session}/statements/{slow}"
            wait_for(lambda: server.get(path).body["state"] == "running")
            server.post(path + "/cancel")
            wait_for(lambda: server.get(path).body["state"] == "cancelled")
            self.assertEqual(server.get(path).body["output"]["status"], "error")
            lost = server.start(session, "kill")
            reply = server.get(f"/sessions/{session}/statements/{lost}")
            self.assertEqual((reply.status, reply.body), (500, "java.util.concurrent.CancellationException"))
            self.assertEqual(server.get(f"/sessions/{session}").body["state"], "dead")

    def test_a_thousand_sessions_are_cheap(self):
        with Server(*SCRIPTED, "--max-creation", "2000") as server:
            for number in range(1000):
                self.assertEqual(server.post("/sessions", {"name": f"s-{number}"}).body["id"], number)
            self.assertEqual(server.get("/sessions?size=5").body["total"], 1000)
            page = server.get("/sessions?from=900&size=300").body["sessions"]
            self.assertEqual([entry["id"] for entry in page], list(range(900, 1000)))


class Log(unittest.TestCase):
    def test_events_tell_the_whole_life_with_both_clocks(self):
        with Server(*SCRIPTED) as server:
            before = (time.time(), time.monotonic())
            session = server.open(name="tag")
            server.run(session, "1")
            server.delete("/sessions/tag")
            after = (time.time(), time.monotonic())
            kinds = ("created", "statement_started", "statement_ended", "deleting", "gone")
            events = server.events(*kinds)
            self.assertEqual([event["event"] for event in events], list(kinds))
            for event in events:
                self.assertEqual((event["session"], event["name"]), (0, "tag"))
                self.assertTrue(before[0] <= event["wall"] <= after[0])
                self.assertTrue(before[1] <= event["mono"] <= after[1])
            self.assertEqual(events[-1]["why"], "request")
            sent = server.events("request")[0]
            self.assertEqual(json.loads(sent["body"]), {"kind": "pyspark", "name": "tag"})
            self.assertEqual(sent["headers"]["x-requested-by"], "test")
            last = server.events()[-1]["n"]
            self.assertEqual(server.get(f"/__test/events?since={last + 99}").body, [])
