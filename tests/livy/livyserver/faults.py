"""Fault rules: which requests go wrong, and how.

A rule is JSON. It applies to requests that fit all of
  `method`   GET, POST, … (default: any)
  `path`     regular expression for the whole path without query (default: any)
  `body`     regular expression searched in the request's body (default: any)
  `nth`      the first so many fitting requests pass (1, the default, means that none does)
  `every`    of those after that only each so-manieth is hit, from the first on (default 1: each)
  `times`    how many are hit in all (default 1; 0: no limit)
  `chance`   of those, the share that is hit (default 1; reproducible by --seed)
and says in `fault` what happens; README.md has the table of faults and their further words.
"""

import itertools
import random
import re
import threading
from dataclasses import dataclass, field, fields
from typing import Any, Optional

FAULTS = (
    "lose_request",
    "lose_reply",
    "delay_request",
    "delay_reply",
    "duplicate",
    "late_apply",
    "answer",
    "cut",
    "wrong_length",
    "state_word",
    "plant",
    "half_open",
)


@dataclass
class Rule:
    fault: str
    method: str = ""
    path: str = ""
    body: str = ""
    nth: int = 1
    every: int = 1
    times: int = 1
    chance: float = 1.0
    # Words of single faults.
    seconds: float = 0.0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    text: str = ""
    content_type: str = ""
    act: bool = False
    length: int = 10
    word: str = "perplexed"
    where: str = "body"
    id: int = 0
    seen: int = 0
    hit: int = 0

    def fits(self, method: str, path: str, body: bytes) -> bool:
        return (
            (not self.method or self.method == method)
            and (not self.path or re.fullmatch(self.path, path) is not None)
            and (not self.body or re.search(self.body, body.decode("utf-8", "replace")) is not None)
        )


class Faults:
    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._numbers = itertools.count(1)
        self._random = random.Random(seed)

    def add(self, given: Any) -> list[int]:
        """One rule or a list of them; `ValueError` names what is wrong, and then none of them is in force."""
        known = {item.name for item in fields(Rule)} - {"id", "seen", "hit"}
        rules = []
        for one in given if isinstance(given, list) else [given]:
            unknown = sorted(set(one) - known)
            if unknown or one.get("fault") not in FAULTS:
                raise ValueError(f"unknown words {unknown} or fault {one.get('fault')!r}; known: {FAULTS}")
            for name in ("path", "body"):
                re.compile(one.get(name, ""))
            rules.append(Rule(**one))
        with self._lock:
            for rule in rules:
                rule.id = next(self._numbers)
                self._rules.append(rule)
        return [rule.id for rule in rules]

    def clear(self) -> None:
        with self._lock:
            self._rules = []

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(vars(rule)) for rule in self._rules]

    def find(self, method: str, path: str, body: bytes) -> Optional[Rule]:
        """The first rule that hits this request; every fitting rule counts it."""
        found = None
        with self._lock:
            for rule in self._rules:
                if not rule.fits(method, path, body):
                    continue
                rule.seen += 1
                turn = rule.seen >= rule.nth and (rule.seen - rule.nth) % rule.every == 0
                due = turn and (rule.times == 0 or rule.hit < rule.times)
                if found is None and due and self._random.random() < rule.chance:
                    rule.hit += 1
                    found = rule
        return found
