"""The sentences of arguments: from their text to their words, and back; and the arguments that they make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from reasoning_probe.data.generators.logic import plural, with_article
from reasoning_probe.data.items import Span

_PATTERNS = {
    "all": re.compile(r"(?P<quantifier>All) (?P<first>\w+) are (?P<second>\w+)\."),
    "no": re.compile(r"(?P<quantifier>No) (?P<first>\w+) are (?P<second>\w+)\."),
    "some": re.compile(r"(?P<quantifier>Some) (?P<first>\w+) are (?P<second>\w+)\."),
    "than": re.compile(r"(?P<first>\w+) is (?P<more>\w+) than (?P<second>\w+)\."),
    "is": re.compile(r"(?P<first>\w+) is an? (?P<second>\w+)\."),
    "is not": re.compile(r"(?P<first>\w+) is (?P<negation>not) an? (?P<second>\w+)\."),
    "is?": re.compile(r"Is (?P<first>\w+) an? (?P<second>\w+)\?"),
    "all?": re.compile(r"Are (?P<quantifier>all) (?P<first>\w+) (?P<second>\w+)\?"),
    "some?": re.compile(r"Are (?P<quantifier>some) (?P<first>\w+) (?P<second>\w+)\?"),
    "than?": re.compile(r"Is (?P<first>\w+) (?P<more>\w+) than (?P<second>\w+)\?"),
}
_SENTENCE = re.compile(r"[^.?]+[.?]")
_ABOUT_CLASSES = {"all", "no", "some", "all?", "some?"}


@dataclass(frozen=True)
class Sentence:
    """A premise or a question of one ``kind``, such as ``all`` or ``is?``, about two words.

    Classes are in the singular. ``more`` is the comparative of ``than``, and empty otherwise.
    """

    kind: str
    first: str
    second: str
    more: str = ""

    @property
    def about_names(self) -> tuple[bool, bool]:
        """Whether the first and the second word are names, and no classes."""
        return self.kind not in _ABOUT_CLASSES, self.kind.startswith("than")

    def text(self) -> str:
        """Return the sentence as the generators write it."""
        first, second, more = self.first, self.second, self.more
        if self.kind in _ABOUT_CLASSES:
            first, second = plural(first), plural(second)
        return {
            "all": f"All {first} are {second}.",
            "no": f"No {first} are {second}.",
            "some": f"Some {first} are {second}.",
            "than": f"{first} is {more} than {second}.",
            "is": f"{first} is {with_article(second)}.",
            "is not": f"{first} is not {with_article(second)}.",
            "is?": f"Is {first} {with_article(second)}?",
            "all?": f"Are all {first} {second}?",
            "some?": f"Are some {first} {second}?",
            "than?": f"Is {first} {more} than {second}?",
        }[self.kind]


@dataclass(frozen=True)
class SentenceSpans:
    """Where a sentence and its words stand in a question: each word by its group in the patterns."""

    whole: Span
    words: dict[str, Span]


@dataclass(frozen=True)
class ArgumentForm:
    """A form of argument: its premises and its question about roles, which words play, and its answer.

    ``steps`` counts the premises that are not about a single name and a class. ``group`` is shared by the forms whose
    questions differ in nouns and names alone.
    """

    name: str
    answer: str
    premises: tuple[Sentence, ...]
    question: Sentence
    steps: int
    group: tuple[str | int, ...]

    @cached_property
    def kinds(self) -> Counter[str]:
        """How many premises of each kind it has."""
        return Counter(premise.kind for premise in self.premises)


@dataclass(frozen=True)
class Argument:
    """The argument of a question: its form, the word of each role, and the form's premise behind each of its premises.

    ``order`` holds, for every premise of the text, the number of the premise of the form, or ``None`` for one that has
    no part in the argument.
    """

    sentences: tuple[Sentence, ...]
    form: ArgumentForm
    words: Mapping[str, str]
    order: tuple[int | None, ...]


def read_sentences(question: str) -> tuple[list[Sentence], list[SentenceSpans]]:
    """Return the sentences of *question* and their places; both are empty if it holds anything else."""
    sentences, spans = [], []
    for match in _SENTENCE.finditer(question):
        start = match.start() + (question[match.start()] == " ")
        sentence = _read(question, start, match.end())
        if sentence is None:
            return [], []
        sentences.append(sentence[0])
        spans.append(sentence[1])
    if " ".join(sentence.text() for sentence in sentences) != question:
        return [], []
    return sentences, spans


def _read(question: str, start: int, end: int) -> tuple[Sentence, SentenceSpans] | None:
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(question, start, end):
            words = match.groupdict()
            first, second = match["first"], match["second"]
            if kind in _ABOUT_CLASSES:
                first, second = _singular(first), _singular(second)
            spans = {name: match.span(name) for name in words}
            return Sentence(kind, first, second, words.get("more", "")), SentenceSpans((start, end), spans)
    return None


def _singular(noun: str) -> str:
    return noun if noun == "fish" else noun.removesuffix("s")
