"""The strategies that decide what a sentence states of a yes/no question, in the question's own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasoning_probe.scoring.extraction.sentences import IRREGULAR, words
from reasoning_probe.scoring.extraction.strategies import NO_ANSWER, Decision, first_decision
from reasoning_probe.utils.number_words import NUMBER_WORDS

Label = Literal["yes", "no", "unknown"]

_DENIED = re.compile(
    r"\b(?:(?:not true|not the case|false|incorrect|untrue|wrong) that|(?:impossible|not possible) for)\b",
    re.IGNORECASE,
)
_OPPOSITES = [
    {"taller", "shorter"}, {"longer", "shorter"}, {"older", "younger"}, {"faster", "slower"}, {"richer", "poorer"},
    {"heavier", "lighter"}, {"stronger", "weaker"}, {"bigger", "smaller"}, {"larger", "smaller"}, {"higher", "lower"},
    {"louder", "quieter"}, {"hotter", "colder"}, {"greater", "less"}, {"greater", "smaller"}, {"more", "less"},
    {"more", "fewer"}, {"earlier", "later"}, {"nearer", "farther"}, {"closer", "farther"}, {"warmer", "colder"},
]  # fmt: skip
_PAIRS = (
    "open closed,open shut,even odd,late early,late punctual,alive dead,wet dry,full empty,awake asleep,present absent,"
    "true false,possible impossible,cheap expensive,tall short,big small,large small,old young,heavy light,fast slow,"
    "rich poor,hot cold,hard soft,hard easy,difficult easy,happy sad,safe dangerous,legal illegal,guilty innocent,"
    "strong weak,clean dirty,left right,married single"
)
_ANTONYMS = {frozenset(pair.split()) for pair in _PAIRS.split(",")}
"""Pairs of which one word says no where the question has the other: "The shop is closed." to "Is the shop open?"."""
_MEASURES = {"second", "minute", "hour", "day", "week", "month", "year", "time", "dollar", "cent", "meter", "mile"}
_MEASURES |= {"point"}
_HEDGED = {"might", "may", "perhaps", "possibly", "maybe", "could"}

_QUANTIFIERS = {"some", "all", "any", "every", "each", "no", "most"}
_CLAUSE = re.compile(
    r"[,;:.]|\b(?:so|therefore|thus|hence|because|since|and|but|while|as|(?:which|this) means(?: that)?|that)\b",
    re.IGNORECASE,
)

AUXILIARIES = {"is", "are", "was", "were", "am", "be", "been", "do", "does", "did", "can", "could", "will", "would"}
AUXILIARIES |= {"should", "may", "might", "must", "shall"}
_NEGATIONS = {"not", "never", "cannot", "no", "neither", "unable"}
FILLERS = {"a", "an", "the", "also", "indeed", "still", "therefore", "so", "thus", "then", "certainly", "definitely"}
FILLERS |= {"which", "to", "possibly", "perhaps", "maybe", "actually", "really", "probably", "likely", "always"}
PRONOUNS = {"it", "he", "she", "they", "this", "that"}
_SHORTENED = {f"{pronoun}'{verb}" for pronoun in PRONOUNS for verb in ("s", "re", "ll", "d")}
_NOWADAYS = {"today", "now", "currently", "tonight"}
_POINTING = {"this", "that", "these", "those"}
_SUBJECTS = [[pronoun] for pronoun in sorted(PRONOUNS)]


@dataclass(frozen=True)
class Statement:
    """A sentence beside the yes/no question that it may answer.

    ``sentence_words`` and ``question_words`` are all words of the sentence and of the question's last sentence;
    ``stated`` and ``asked_for`` the content words of both, in the question's terms (opposites as a negation);
    ``negations`` are the places in ``stated`` before which a negation stands.
    """

    sentence: str
    sentence_words: list[str]
    question_words: list[str]
    stated: list[str]
    negations: list[int]
    asked_for: list[str]


def statement_label(sentence: str, question: str, sentence_words: list[str] | None = None) -> Label | None:
    """Return what *sentence* states of what *question* asks in its last sentence; only *sentence_words* of it are read.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> texts = ("Max is an animal.", "Max is not an animal.", "Max might be an animal.", "Max is a dog.")
    >>> [statement_label(text, question) for text in texts]
    ['yes', 'no', 'unknown', None]
    """
    statement = statement_of(sentence, question, sentence_words)
    return first_decision(STATEMENT_STRATEGIES, statement) if statement else None


def statement_of(sentence: str, question: str, sentence_words: list[str] | None = None) -> Statement | None:
    """Return the statement that *sentence* makes, or ``None`` if *question* has no auxiliary such as "is" or "did"."""
    if sentence_words is None:
        sentence_words = words(sentence)
    question_words = words(re.split(r"[.!?;]\s", question.strip().rstrip("?. "))[-1])
    start = next((index for index, word in enumerate(question_words) if word in AUXILIARIES), None)
    if start is None:
        return None
    asked_for, _ = _content(question_words[start + 1 :])
    if set(sentence_words[:1]) & PRONOUNS and set(asked_for[-1:]) & (_NOWADAYS - set(sentence_words)):
        asked_for = asked_for[:-1]  # "It is not open on Monday."
    stated, negations = _in_terms_of(asked_for, *_content(sentence_words))
    if question_words[start] == "did":
        asked_for, stated = [_present(word) for word in asked_for], [_present(word) for word in stated]
    return Statement(sentence, sentence_words, question_words, stated, negations, asked_for)


def comparison(statement: Statement) -> Label | None:
    """A clause compares the two that the question compares.

    >>> comparison(statement_of("Cid is shorter than Ann.", "Is Ann taller than Cid?"))
    'yes'
    >>> comparison(statement_of("Cid is shorter than Bob.", "Is Ann taller than Cid?"))
    """
    labels = (_compared(clause, statement.asked_for) for clause in _clauses(statement.sentence))
    return next((label for label in labels if label), None)


def short_answer(statement: Statement) -> Label | None:
    """The sentence is the subject and a verb: "He is.", "Max cannot.".

    >>> [short_answer(statement_of(text, "Can Max fly?")) for text in ("No, he cannot.", "Max can.")]
    ['no', 'yes']
    >>> short_answer(statement_of("Max sings.", "Can Max fly?"))
    """
    verbs = set(statement.sentence_words) - set(statement.stated)
    is_subject = statement.stated in (*_SUBJECTS, statement.asked_for[:1])
    if not is_subject or not verbs or not all(_is_verb(word) for word in verbs):
        return None
    return "no" if statement.negations else "yes"


def predicate(statement: Statement) -> Label | Decision | None:
    """The sentence states the predicate of the question, of its subject or of a pronoun.

    "Some cats are not black." leaves open whether some are: no answer.

    >>> predicate(statement_of("Therefore he is not an animal.", "Is Max an animal?"))
    'no'
    >>> predicate(statement_of("Rex is an animal.", "Is Max an animal?"))
    """
    stated, asked_for = statement.stated, statement.asked_for
    for skipped in range(1 if set(asked_for[:1]) & _QUANTIFIERS else 4):  # also "he is an animal", "it has a bell"
        wanted = asked_for[skipped:]
        if skipped and not (wanted and ("than" in wanted or "than" not in asked_for)):
            break
        for start in range(len(stated) - len(wanted) + 1 if wanted else 0):
            end = start + len(wanted)
            pointed = skipped == 1 and start == 0 and asked_for[0] in _POINTING  # "The car is cheap."
            has_subject = not skipped or pointed or stated[max(0, start - 1) : start] in _SUBJECTS
            if stated[start:end] == wanted and has_subject:
                return _polarity(statement, start, end)
    return None


def some_are_not(statement: Statement) -> Label | None:
    """The question asks of all, and the sentence denies it of some.

    >>> some_are_not(statement_of("Some cats are not black.", "Are all cats black?"))
    'no'
    >>> some_are_not(statement_of("Some cats are black.", "Are all cats black?"))
    """
    some = statement.asked_for[:1] == ["all"] and ["some", *statement.asked_for[1:]] == statement.stated
    return "no" if some and statement.negations else None


def bare_plural(statement: Statement) -> Label | None:
    """The question asks of all, and the sentence says it without "all": "Cats breathe air.".

    >>> bare_plural(statement_of("Cats breathe air.", "Do all cats breathe air?"))
    'yes'
    >>> bare_plural(statement_of("Dogs breathe air.", "Do all cats breathe air?"))
    """
    asked_for = statement.asked_for
    if asked_for[:1] != ["all"] or statement.stated[: len(asked_for) - 1] != asked_for[1:]:
        return None
    return "no" if statement.negations else "yes"


STATEMENT_STRATEGIES: tuple[Callable[[Statement], Label | Decision | None], ...] = (
    comparison,
    short_answer,
    predicate,
    some_are_not,
    bare_plural,
)
"""The strategies for a statement in the order in which they are tried."""


def _polarity(statement: Statement, start: int, end: int) -> Label | Decision:
    """Return what the predicate ``stated[start:end]`` says with its hedges and negations."""
    if (_HEDGED - set(statement.question_words)) & set(statement.sentence_words):
        return "unknown"
    denials = sum(start <= place < end for place in statement.negations) + bool(_DENIED.search(statement.sentence))
    if denials % 2 and statement.asked_for[0] == "some" == statement.stated[start]:
        return NO_ANSWER
    return "no" if denials % 2 else "yes"


def _clauses(sentence: str) -> list[list[str]]:
    """Return the content words of each clause without a negation, the last clause first."""
    clauses = [_content(words(clause)) for clause in _CLAUSE.split(sentence)]
    return [content for content, negations in reversed(clauses) if not negations]


def _in_terms_of(asked_for: list[str], stated: list[str], negations: list[int]) -> tuple[list[str], list[int]]:
    """Return *stated* and its negations without numbers that were not asked for, and with opposites as negations.

    >>> _in_terms_of(["rolf", "late"], ["rolf", "15", "minute", "late"], [])
    (['rolf', 'late'], [])
    >>> _in_terms_of(["bakery", "open", "today"], ["bakery", "closed", "today"], [])
    (['bakery', 'open', 'today'], [1])
    """
    content: list[str] = []
    places: list[int] = []
    after_number = False
    for index, word in enumerate(stated):
        places += [len(content)] * negations.count(index)
        number = (word.isdecimal() or word in NUMBER_WORDS) and word not in asked_for
        if number or (after_number and word in _MEASURES and word not in asked_for):
            after_number = True
            continue
        after_number = False
        opposites = (other for other in asked_for if {other, word} in _ANTONYMS and word not in asked_for)
        if opposite := next(opposites, None):
            places.append(len(content))
            word = opposite
        content.append(word)
    return content, places + [len(content)] * negations.count(len(stated))


def _compared(stated: list[str], wanted: list[str]) -> Label | None:
    """Return what "cid shorter than ann", "cid taller than ann", "cid shortest" says to "ann taller than cid"."""
    if len(wanted) != 4 or wanted[2] != "than":
        return None
    if len(stated) > 1 and stated[0] in (wanted[0], wanted[3]) and (len(stated) == 2 or stated[2] == "of"):
        degrees = {wanted[1]: True} | {word: False for pair in _OPPOSITES if wanted[1] in pair for word in pair}
        degrees[wanted[1]] = True
        degrees |= {f"{word.removesuffix('er')}est": same for word, same in degrees.items() if word.endswith("er")}
        same = degrees.get(stated[1])
        return None if same is None else "yes" if same is (stated[0] == wanted[0]) else "no"
    if len(stated) != 4 or stated[2] != "than":
        return None
    opposite = {wanted[1], stated[1]} in _OPPOSITES
    if stated[1] != wanted[1] and not opposite:
        return None
    if [stated[0], stated[3]] == [wanted[3], wanted[0]]:
        return "yes" if opposite else "no"
    return "no" if opposite and [stated[0], stated[3]] == [wanted[0], wanted[3]] else None


def _present(word: str) -> str:
    """Return the stem that a verb and its past share: "rain" for "rained", "win" for "won", "bak" for "baked"."""
    return IRREGULAR.get(word) or (word.removesuffix("ed").removesuffix("e") if len(word) > 3 else word)


def _is_verb(word: str) -> bool:
    return word in AUXILIARIES or word in _NEGATIONS or word.endswith("n't")


def _content(tokens: list[str]) -> tuple[list[str], list[int]]:
    """Return the content words without inflection, and the places among them before which a negation stands."""
    content: list[str] = []
    negations: list[int] = []
    for token in (token.partition("'")[0] if token in _SHORTENED else token for token in tokens):
        if token in _NEGATIONS or token.endswith("n't"):
            negations.append(len(content))
        elif token not in AUXILIARIES and token not in FILLERS:
            stem = token[:-1] if len(token) > 3 and token.endswith("s") and token != "this" else token
            content.append({"has": "have", "had": "have"}.get(token, stem))
    return content, negations
