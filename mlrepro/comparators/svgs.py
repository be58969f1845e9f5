"""SVGs: drawings compared element by element, numbers as numbers.

No content, and so metadata: `<metadata>` (the date, the program that drew it), comments, the names
of ids, which matplotlib draws by lot and which are renamed in the order in which they stand, and
spaces between elements. A file that declares entities is refused: they can grow without end.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.marks import Marks
from mlrepro.drift import Difference, Tolerance
from mlrepro.errors import ComparisonError

_LARGEST = 128 * 2**20
_DEEPEST = 1_000
_REFERENCE = re.compile(r"#([^\s\"'()#;]+)")


def _recognises(path: Path, head: bytes) -> bool:
    return (bool(head) and path.suffix.lower() == ".svg") or b"<svg" in head[:1024]


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    a, b = _read(recorded), _read(rebuilt)
    marks = Marks(tolerance)
    for x, y in itertools.zip_longest(a.written(), b.written()):
        if x is None or y is None or x[0] != y[0]:
            left, right = (side[0] if side else "its end" for side in (x, y))
            marks.found.break_structure(f"{left} → {right}")
            break
        marks.texts(x[1], y[1], x[0])
    marks.found.metadata += _asides(a, b)
    return marks.finish(recorded.name, "svg: spaces or comments differ, not the drawing")


@dataclass
class _Drawing:
    """The elements of a drawing, in order.

    Attributes
    ----------
    marks : list of tuple
        Each the place and the text of an attribute or of what stands between two tags.
    ids : dict of str to str
        What each id is called here.
    aside : list of str
        The words of `<metadata>`, in order.
    """

    marks: list[tuple[str, str]] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    count: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.flush()
        if len(self.path) >= _DEEPEST:
            raise ComparisonError(f"an SVG is nested more than {_DEEPEST} deep")
        self.path.append(tag)
        if "metadata" in self.path:
            self.aside += [f"{tag} {key}={value}" for key, value in sorted(attributes.items())]
            return
        self.count += 1
        place = f"<{tag}> {self.count}"
        self.marks.append((place, ""))
        for key, value in sorted(attributes.items()):
            if key == "id":
                if value in self.ids:
                    raise ComparisonError(f"the id `{value:.60}` is there twice")
                self.ids[value] = f"id{len(self.ids)}"
                value = f"#{value}"  # noqa: PLW2901  renamed as what refers to it is
            self.marks.append((f"{place}, {key}", value))

    def end(self, tag: str) -> None:
        self.flush()
        self.path.pop()
        if "metadata" not in self.path and tag != "metadata":
            self.marks.append((f"</{tag}>", ""))

    def data(self, text: str) -> None:
        self.text.append(text)

    def flush(self) -> None:
        text = " ".join("".join(self.text).split())
        self.text.clear()
        if text and "metadata" in self.path:
            self.aside.append(f"{self.path[-1]}: {text}")
        elif text:
            self.marks.append((f"<{self.path[-1]}> {self.count}, text", text))

    def written(self) -> Iterator[tuple[str, str]]:
        """Yield the marks, with every id by its number, where it stands and where it is meant."""
        for place, text in self.marks:
            yield place, _REFERENCE.sub(lambda m: f"#{self.ids.get(m[1], m[1])}", text)


def _read(path: Path) -> _Drawing:
    if path.stat().st_size > _LARGEST:
        raise ComparisonError(f"`{path.name}` is larger than {_LARGEST >> 20} MiB")
    drawing = _Drawing()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = drawing.start
    parser.EndElementHandler = drawing.end
    parser.CharacterDataHandler = drawing.data
    parser.EntityDeclHandler = _refuse
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (expat.ExpatError, ValueError) as error:
        raise ComparisonError(f"`{path.name}` is damaged: {error}") from error
    return drawing


def _refuse(*_: object) -> None:
    raise ComparisonError("an SVG declares entities, which are not expanded here")


def _asides(a: _Drawing, b: _Drawing) -> list[str]:
    pairs = itertools.zip_longest(a.aside, b.aside, fillvalue="absent")
    lines = [f"metadata: {x} → {y}" for x, y in pairs if x != y][:10]
    renamed = sum(x != y for x, y in zip(a.ids, b.ids, strict=False))
    return [*lines, *([f"{renamed} ids have other names"] if renamed else [])]


COMPARATOR = Comparator("svg", _recognises, _compare)
