"""Extensions: what a user's own code adds to a session. Knows no pytest; ``hookspecs.py`` says what each may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.items import Item
from reasoning_probe.results.answer import Answer, judge_answer
from reasoning_probe.scoring.judgement import Judgement
from reasoning_probe.utils.text import OneLineError

if TYPE_CHECKING:
    from reasoning_probe.results.record import SectionRecord
    from reasoning_probe.results.run import Run


class ExtensionError(OneLineError):
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

    def judgement(self, answer: Answer, *, listed: bool, think: str = "auto") -> Judgement:
        """Return the judgement of *answer*: by the user's rules where they apply, else by the package's.

        *listed* says that the prompt lists the choices, *think* what surrounds thoughts. Raises
        :class:`ExtensionError`.
        """
        item = answer.query.item
        by_user = None if answer.choices else self.judge(item, answer.response, answer.truncated)
        if by_user is None:
            judgement = judge_answer(answer, listed=listed, think=think)
        else:
            judgement = _checked(by_user, "pytest_reasoning_probe_judge")
        if not judgement.correct:
            renamed = self.mistake(item, answer.response, judgement)
            if renamed is not None:
                judgement = _checked(renamed, "pytest_reasoning_probe_mistake")
        return judgement


def _checked(value: Any, hook: str) -> Judgement:
    """Return the *value* of a hook, fit for the files: a right answer has no category, a wrong one has one."""
    if not isinstance(value, Judgement):
        raise ExtensionError(f"{hook} gave {ascii(value)[:60]}: return a Judgement or None")
    texts = (value.answer, value.category, value.kind, value.reason)
    if not all(text is None or isinstance(text, str) for text in texts) or not isinstance(value.correct, bool):
        raise ExtensionError(f"{hook} gave {ascii(value)[:100]}: correct is a bool, everything else a text or None")
    if value.correct:
        return Judgement(value.answer, True)
    return value if value.category else replace(value, category="hallucination", kind=value.kind or "other")


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
