"""The words that a response gives as its answer, where the question asks for neither a number nor yes or no."""

from __future__ import annotations

import re
import unicodedata

from reasoning_probe.scoring.extraction.explicit import BOXED, ExtractedAnswer, explicit_statement
from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.scoring.extraction.sentences import (
    is_loop,
    is_refusal,
    repeats_question,
    sentences,
    words,
)
from reasoning_probe.utils.numbers import parse_number

_CONCLUDING = re.compile(r"(?:^|[,;]? )(?:and )?(?:so|therefore|thus|hence|this means(?: that)?),? ", re.IGNORECASE)
_VERB = re.compile(r"\b(?:(?:will|would|must|should) be|is|are|was|were|equals|becomes)\b\s*(?::\s*)?", re.IGNORECASE)
_FUNCTION_WORDS = {"the", "a", "an", "it", "this", "that", "answer", "he", "she", "they", "one", "then", "now", "so"}
_QUESTION_WORDS = set(words("who what which where when how many much is are was were does do did in of to for on"))
_ARTICLES = re.compile(r"(?<![\w+*/=<>^-])(?:the\s+|an?\s+(?=[^\W\d_]{2}))")
_COMPARED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\u2212\u2013]"), "-"),
    (re.compile(r"[\u00d7\u00b7]"), "*"),
    (re.compile(r"\u00f7"), "/"),
    (re.compile(r"\u2264|\\leq?\b"), "<="),
    (re.compile(r"\u2265|\\geq?\b"), ">="),
    (re.compile(r"\u2260|\\neq?\b"), "!="),
    (re.compile(r"\u2192|\\(?:right|longright)?arrow\b|\\to\b"), "->"),
    (re.compile(r"\u21d2|\\(?:implies|Rightarrow)\b"), "=>"),
    (re.compile(r"\\pi\b"), "π"),
    (re.compile(r"\\[dt]frac\b"), r"\\frac"),
    (re.compile(r"\s*(?:%|\bper ?cent\b)"), "%"),
    (re.compile(r"[\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb$€£]|(?<![^\W_])_|_(?![^\W_])"), ""),
    (re.compile(r"^[#>*]+\s+"), ""),
    (re.compile(r"(?<=\b[^\W\d_])\.(?=\s|$)"), ""),  # J. K. Rowling
    (re.compile(r"(?<=[^\W\d_])[,;:!?.](?=\s|$)"), ""),
    (re.compile(r"^\(([\w\s]+)\)$"), r"\1"),
)
"""What is written otherwise, or left out, before two texts are compared."""

_INITIALS = re.compile(r"\b(?:[A-Z]\.)+[A-Z]\b\.?|\b(?:[a-z]\.){2,}(?![a-z])|\b(?:[ap]\.m|i\.e|e\.g|u\.[sk])\b")
"""Points that say only that the letters begin words: "U.S.", "p.m."; not those of "a.b"."""

_OPERATOR = re.compile(r"\s*([-+*/=<>^|&~,:;()\[\]{}\u2227\u2228\u2192\u00ac]+)\s*")
_ASIDE = re.compile(r"[,;](?=\s)|\s\(|\u2014|\b(?:because|since|as|which|who)\b")


def read_text(text: str, question: str, truncated: bool) -> ExtractedAnswer | None:
    """Return the words that a cleaned response gives as its answer, else as a conclusion, else first.

    >>> answer = read_text("Vera is small, so Wanda is the shortest.", "Who is the shortest?", False)
    >>> answer.answer, read_text("I don't know.", "Who is the shortest?", False)
    ('Wanda', None)
    """
    stated = explicit_statement(text)
    if not any(map(str.isalnum, stated)):
        statements = [
            part.text for part in sentences(text) if not part.is_question and not repeats_question(part.text, question)
        ]
        if not statements or is_loop(text):
            return None
        cut = truncated and not statements[-1].endswith((".", "!"))
        if cut and len(statements) == 1 and "\n" not in text:
            return None
        complete = statements[:-1] if cut else statements
        stated = next((sentence for sentence in reversed(complete) if _CONCLUDING.match(sentence)), statements[0])
    if is_refusal(stated):
        return None
    stated = answer_phrase(_CONCLUDING.split(stated)[-1] if _CONCLUDING.search(stated) else stated, question)
    return ExtractedAnswer(stated, parse_number(stated), stated) if any(map(str.isalnum, stated)) else None


def answer_phrase(statement: str, question: str) -> str:
    """Return what *statement* adds to *question*: "Paris" of "The capital of France is Paris".

    Definition: of "X is Y", X if the question asks for Y, Y if the question has all of X, else a short Y that the
    question does not have. Example: "Wanda" of "Wanda is the shortest" to "Who is the shortest?". Counter-example: all
    of "Paris or London".

    >>> answer_phrase("The capital of France is Paris.", "What is the capital of France?")
    'Paris'
    >>> answer_phrase("Two days after Monday is Wednesday.", "Today is Monday. What day comes in two days?")
    'Wednesday'
    >>> answer_phrase("Wanda is the shortest.", "Who is the shortest of Wanda, Tom and Max?")
    'Wanda'
    """
    statement = re.sub(r"\b(it|that|this|he|she)'s\b", r"\1 is", statement.strip(), flags=re.IGNORECASE)
    statement = statement.rstrip(".!").strip(" \"'")
    last_question = set(words(re.split(r"[.!]\s", question.strip())[-1])) | _FUNCTION_WORDS
    known = set(words(question)) | _FUNCTION_WORDS
    splits = [
        (statement[: match.start()].strip(), statement[match.end() :].strip()) for match in _VERB.finditer(statement)
    ]
    for left, right in splits[:5]:
        if (
            left
            and right
            and set(words(right)) <= last_question
            and (_asks_for(right, question) or not set(words(left)) <= last_question)
        ):
            return left
    for left, right in splits[:5]:
        left_known = set(words(left)) & (last_question - _FUNCTION_WORDS - _QUESTION_WORDS)
        right_known = set(words(right)) & last_question - _FUNCTION_WORDS
        if left and right and (set(words(left)) <= known or (left_known and not right_known)):
            return right
    for left, right in splits[-1:]:
        if left and 0 < len(words(right)) <= 3 and not set(words(right)) & known:
            return right
    return statement


def _asks_for(description: str, question: str) -> bool:
    """Whether *question* asks who or what is *description*; it may offer names itself.

    >>> _asks_for("the shortest", "Who is the shortest of Wanda and Tom?"), _asks_for("red", "Is the cup red or blue?")
    (True, False)
    """
    asks = rf"\b(?:who|what|which(?: \w+){{0,3}}) (?:is|are|was|were) {re.escape(description)}\b"
    return re.search(asks, question, re.IGNORECASE) is not None


def same_words(answer: str, expected: str) -> bool:
    """Whether *answer* is the *expected* text, in normal form and without an explanation after it.

    >>> same_words("the Paris!", "Paris"), same_words("Paris, in France", "Paris"), same_words("Paris or Rome", "Paris")
    (True, True, False)
    """
    return comparable_text(expected) in (comparable_text(answer), comparable_text(_ASIDE.split(answer)[0]))


def comparable_text(text: str) -> str:
    r"""Return *text* as answers are compared: signs, operators, brackets, ratios and points count.

    Case, articles, quotes, a final point, blanks around operators and LaTeX's markup do not.

    >>> comparable_text("The p + q."), comparable_text("p-Q"), comparable_text(r"\text{Evelyn}"), comparable_text("C++")
    ('p+q', 'p-q', 'evelyn', 'c++')
    """
    plain = plain_text(unicodedata.normalize("NFC", text[:10_000]))
    plain = (
        _INITIALS.sub(lambda initials: initials[0].replace(".", ""), BOXED.sub(r"\1", plain))
        .lower()
        .strip()
        .rstrip(".!?")
        .strip()
    )
    plain = " ".join(plain.split())
    for pattern, replacement in _COMPARED:
        plain = pattern.sub(replacement, plain)
    return " ".join(_OPERATOR.sub(r"\1", _ARTICLES.sub(" ", plain)).split())
