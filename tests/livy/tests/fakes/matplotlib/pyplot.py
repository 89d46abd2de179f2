"""A figure that saves the first bytes of a PNG."""

from typing import Any


class Line2D:
    def __repr__(self) -> str:
        return f"<matplotlib.lines.Line2D object at {id(self):#x}>"


class Figure:
    def savefig(self, target: Any, format: str) -> None:
        target.write(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + format.encode())


def plot(_values: list[float]) -> list[Line2D]:
    return [Line2D()]


def gcf() -> Figure:
    return Figure()
