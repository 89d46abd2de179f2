"""Stands in for matplotlib in the replay: enough for one plot."""


def use(_name: str) -> None:
    pass
