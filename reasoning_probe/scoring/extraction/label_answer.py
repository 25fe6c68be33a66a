"""The strategies that find the answer of a response to a yes/no question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reasoning_probe.scoring.extraction.explicit import (
    ANSWER_PHRASE,
    BOXED,
    FINAL,
    ExtractedAnswer,
    explicit_statement,
    to_sentence_end,
    with_choice,
)
from reasoning_probe.scoring.extraction.sentences import Sentence, options_in, sentences, words
from reasoning_probe.scoring.extraction.strategies import NO_ANSWER, Decision, first_decision
from reasoning_probe.scoring.extraction.yes_no import denies, label_in, says_both
from reasoning_probe.scoring.extraction.yes_no_statement import Label

BOTH = "yes and no"
"""The answer of a response that says both."""


@dataclass(frozen=True)
class LabelResponse:
    """A cleaned response to a yes/no question."""

    text: str
    question: str


@dataclass(frozen=True)
class LabelSentence:
    """One of the *sentences* of a response to a yes/no *question*, with those that follow it."""

    sentences: Sequence[Sentence]
    question: str
    index: int = 0

    @property
    def text(self) -> str:
        """The sentence itself."""
        return self.sentences[self.index].text

    @property
    def next_text(self) -> str:
        """The sentence after it; empty for the last one."""
        following = self.sentences[self.index + 1 : self.index + 2]
        return following[0].text if following else ""

    @cached_property
    def label(self) -> Label | None:
        """The label that the sentence gives."""
        return label_in(self.text, self.question)

    @cached_property
    def next_label(self) -> Label | None:
        """The label that the sentence after it gives."""
        return label_in(self.next_text, self.question) if self.next_text else None


def read_label(text: str, question: str) -> ExtractedAnswer | None:
    """Return what a cleaned response answers to a yes/no question, by the first strategy that decides.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> [read_label(text, question).answer for text in ("Max is a dog. So yes.", "Yes. No.", "No. It cannot be known.")]
    ['yes', 'yes and no', 'unknown']
    """
    return first_decision(LABEL_STRATEGIES, LabelResponse(with_choice(text), question))


def boxed_label(response: LabelResponse) -> ExtractedAnswer | None:
    r"""The last label in a box.

    >>> boxed_label(LabelResponse(r"\boxed{No}, I mean \boxed{Yes}", "Is Max an animal?")).answer
    'yes'
    >>> boxed_label(LabelResponse(r"\boxed{8}", "Is Max an animal?"))
    """
    for content in reversed(BOXED.findall(response.text)):
        if label := label_in(content, response.question):
            return ExtractedAnswer(label, source=content)
    return None


def answer_phrase_label(response: LabelResponse) -> ExtractedAnswer | None:
    """The label after the first "the answer is", or after a later one that concludes; two that differ are both.

    >>> question = "Is Max an animal?"
    >>> answer_phrase_label(LabelResponse("The answer is no. So the final answer is yes.", question)).answer
    'yes'
    >>> answer_phrase_label(LabelResponse("The answer is no. The answer is yes.", question)).answer
    'yes and no'
    >>> answer_phrase_label(LabelResponse("Answer: A) Yes B) No", question))
    """
    text, question = response.text, response.question
    answer: str | None = None
    for match in ANSWER_PHRASE.finditer(text):
        statement = to_sentence_end(text, match.end())
        if options_in(statement):
            continue
        label = BOTH if says_both(statement, question) else label_in(statement, question)
        if label and (answer is None or FINAL.search(text[max(0, match.start() - 40) : match.end()])):
            answer = label
        elif {answer, label} == {"yes", "no"}:
            answer = BOTH
    return ExtractedAnswer(answer, source="an explicit answer") if answer else None


def unchosen_options(response: LabelResponse) -> Decision | None:
    """The response lists options and takes none of them: no answer.

    >>> unchosen_options(LabelResponse("A) Yes B) No", "Is Max an animal?")).name
    'NO_ANSWER'
    >>> unchosen_options(LabelResponse("A) Yes", "Is Max an animal?"))
    """
    return NO_ANSWER if options_in(response.text) else None


def first_label(response: LabelResponse) -> ExtractedAnswer | None:
    """The first sentence that one of the strategies for sentences decides.

    >>> first_label(LabelResponse("Max is a dog. So yes, it is.", "Is Max an animal?")).source
    'So yes, it is.'
    >>> first_label(LabelResponse("Max is a dog. Is he?", "Is Max an animal?"))
    """
    parts = [part for part in sentences(response.text) if not part.is_question and not explicit_statement(part.text)]
    candidates = (LabelSentence(parts, response.question, index) for index in range(len(parts)))
    decisions = (first_decision(SENTENCE_STRATEGIES, candidate) for candidate in candidates)
    return next((decision for decision in decisions if decision), None)


LABEL_STRATEGIES: tuple[Callable[[LabelResponse], ExtractedAnswer | Decision | None], ...] = (
    boxed_label,
    answer_phrase_label,
    unchosen_options,
    first_label,
)
"""The strategies for yes, no or unknown in the order in which they are tried."""


def both_labels(sentence: LabelSentence) -> ExtractedAnswer | None:
    """The sentence says yes and no.

    >>> both_labels(LabelSentence(sentences("Yes, Max is not an animal."), "Is Max an animal?")).answer
    'yes and no'
    >>> both_labels(LabelSentence(sentences("No, Max is not an animal."), "Is Max an animal?"))
    """
    return ExtractedAnswer(BOTH, source=sentence.text) if says_both(sentence.text, sentence.question) else None


def denied_label(sentence: LabelSentence) -> ExtractedAnswer | None:
    """A later sentence of the same paragraph states the opposite.

    >>> denied_label(LabelSentence(sentences("No. Max is an animal."), "Is Max an animal?")).answer
    'yes and no'
    >>> denied_label(LabelSentence(sentences("Yes. Max is an animal."), "Is Max an animal?"))
    """
    label, current = sentence.label, sentence.sentences[sentence.index]
    later = [part for part in sentence.sentences[sentence.index + 1 :] if part.paragraph == current.paragraph]
    denied = label and any(denies(part.text, label, sentence.question) for part in later)
    return ExtractedAnswer(BOTH, source=sentence.text) if denied else None


def no_then_unknown(sentence: LabelSentence) -> ExtractedAnswer | None:
    """The sentence says no, and the next one that the answer cannot be known.

    >>> no_then_unknown(LabelSentence(sentences("No. It cannot be known."), "Is Max an animal?")).answer
    'unknown'
    >>> no_then_unknown(LabelSentence(sentences("Yes. It cannot be known."), "Is Max an animal?"))
    """
    unknown = sentence.label == "no" and sentence.next_label == "unknown"
    return ExtractedAnswer("unknown", source=sentence.next_text) if unknown else None


def contradicting_words(sentence: LabelSentence) -> ExtractedAnswer | None:
    """The sentence and the next one are single words that differ.

    >>> contradicting_words(LabelSentence(sentences("Yes. No."), "Is Max an animal?")).answer
    'yes and no'
    >>> contradicting_words(LabelSentence(sentences("Yes. Yes."), "Is Max an animal?"))
    """
    single = len(words(sentence.text)) == len(words(sentence.next_text)) == 1
    differ = sentence.label in ("yes", "no") and sentence.next_label not in (None, sentence.label)
    return ExtractedAnswer(BOTH, source=sentence.text) if single and differ else None


def stated_label(sentence: LabelSentence) -> ExtractedAnswer | None:
    """The sentence answers the question.

    >>> stated_label(LabelSentence(sentences("Max is an animal."), "Is Max an animal?")).answer
    'yes'
    >>> stated_label(LabelSentence(sentences("Max is a dog."), "Is Max an animal?"))
    """
    return ExtractedAnswer(sentence.label, source=sentence.text) if sentence.label else None


SENTENCE_STRATEGIES: tuple[Callable[[LabelSentence], ExtractedAnswer | None], ...] = (
    both_labels,
    denied_label,
    no_then_unknown,
    contradicting_words,
    stated_label,
)
"""The strategies for one sentence in the order in which they are tried, before the next sentence is looked at."""
