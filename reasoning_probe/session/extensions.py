"""Extensions: what a user's own code adds to a session. Knows no pytest; ``hookspecs.py`` says what each may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.items import Item
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.scoring.judgement import Judgement

if TYPE_CHECKING:
    from reasoning_probe.results.record import SectionRecord
    from reasoning_probe.results.run import Run


class ExtensionError(ValueError):
    """What a user's hook gave cannot be used; the message is one line that names the hook."""


@dataclass(frozen=True)
class Section:
    """A section of the page: a title, a text, and a table where there is one. Plain text, which the page escapes."""

    title: str
    text: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Extensions:
    """The user's functions; each returns ``None`` where it has nothing to say."""

    source: Callable[[str], Iterable[Item] | None] = _nothing
    judge: Callable[[Item, str, bool], Judgement | None] = _nothing
    mistake: Callable[[Item, str, Judgement], Judgement | None] = _nothing
    sections: Callable[[Run], Iterable[Section]] = lambda run: ()

    def rejudge(self, item: Item, outcome: Outcome) -> Outcome:
        """Return *outcome* as the user's rules judge it. Raises :class:`ExtensionError`."""
        judgement = Judgement(outcome.answer, outcome.correct, outcome.category, outcome.kind, outcome.reason)
        own = None if outcome.choices else self.judge(item, outcome.response, outcome.truncated)
        if own is not None:
            judgement = _checked(own, "pytest_reasoning_probe_judge")
        if not judgement.correct:
            named = self.mistake(item, outcome.response, judgement)
            if named is not None:
                judgement = _checked(named, "pytest_reasoning_probe_mistake")
        return replace(outcome, **asdict(judgement))


def _checked(given: Any, hook: str) -> Judgement:
    """Return what a hook gave, fit for the files: a right answer has no category, a wrong one has one."""
    if not isinstance(given, Judgement):
        raise ExtensionError(f"{hook} gave {ascii(given)[:60]}: return a Judgement or None")
    texts = (given.answer, given.category, given.kind, given.reason)
    if not all(text is None or isinstance(text, str) for text in texts) or not isinstance(given.correct, bool):
        raise ExtensionError(f"{hook} gave {ascii(given)[:100]}: correct is a bool, everything else a text or None")
    if given.correct:
        return Judgement(given.answer, True)
    return given if given.category else replace(given, category="hallucination", kind=given.kind or "other")


def plain_sections(sections: Iterable[Any]) -> list[SectionRecord]:
    """Return a user's sections as ``run.json`` holds them. Raises :class:`ExtensionError`."""
    plain: list[SectionRecord] = []
    for section in sections:
        if not isinstance(section, Section):
            raise ExtensionError(f"pytest_reasoning_probe_section gave {ascii(section)[:60]}: return a Section or None")
        plain.append(
            {
                "title": str(section.title),
                "text": str(section.text),
                "head": [str(cell) for cell in section.head],
                "rows": [[str(cell) for cell in row] for row in section.rows],
            }
        )
    return plain
