"""The sentences of a response and what can be said of them without their question's answer: loops, refusals, options.

All of it works on text that ``clean`` has clipped, whatever the model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from reasoning_probe.utils.numbers import find_numbers

MAX_SENTENCE = 1500
"""At most so many characters of a sentence are read."""

_PRONOUNS = {"he", "she", "it", "they", "we", "i", "you", "his", "her", "their"}
_FUNCTION_WORDS = _PRONOUNS | {"and", "so", "then", "but", "who", "also", "a", "an", "the", "than", "of", "ha", "are"}
_FUNCTION_WORDS |= {"were", "wa"}
IRREGULAR = {
    "has": "have", "had": "have", "sold": "sell", "bought": "buy", "ate": "eat", "gave": "give", "found": "find",
    "spent": "spend", "made": "make", "lost": "lose", "paid": "pay", "took": "take", "got": "get", "won": "win",
}  # fmt: skip
_CALCULATED = re.compile(r"[0-9] ?[-+*/=\u2212\u00d7\u00f7]|\b(?:is|are|equals) [^\w\s]?[0-9.,]+\W*$")
_NEITHER = re.compile(r"[^\w\s]|_")
"""A character that is neither a letter or digit nor a space."""

_WITHOUT_SIGNS = {code: None for code in range(128) if _NEITHER.match(chr(code))}
_ARTICLES = ("a", "an", "the")
_LABEL = re.compile(
    r"^(?:explanation|solution|reasoning|explain|note|answer|a|calculation)[ \t]*:[ \t]*", re.IGNORECASE
)
_NUMBERED = re.compile(
    r"\b(step|question|example|problem|option|part|equation|method|case|figure|rule|line)[ ]+#?\d{1,3}\b(?:[ ]?[:.)])?",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[ \t]*(?:[*\u2022]|-(?=[ \t]))[ \t]*")
_ENUMERATOR = re.compile(r"[ \t]*\(?(\d{1,2})[.)](?:[ \t]+(?=\S)|[ \t]*$)")
_OPTION = re.compile(r"(?:^|\s)\(?([A-Ea-e])[).:][ \t]+(?=\S)")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[MD]r\.)(?<!\bMrs\.)(?<!\bvs\.)(?<!\be\.g\.)(?<!\bi\.e\.)[\"')]?\s+")

_REFUSAL = re.compile(
    r"\b(?:i'?m sorry|i am sorry|i apologi[sz]e|as an ai|"
    r"i(?: can(?:no|')t| am (?:not able|unable) to|'m (?:not able|unable) to| do(?:n'?t| not) (?:know|have))|"
    r"unable to (?:answer|help)|can(?:no|')t (?:answer|help)|not able to answer|"
    r"no answer|i don'?t understand|i(?:'m| am) not (?:sure|certain)|i have no idea)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a response, with the number of its paragraph; ``listed`` for an entry of a list."""

    text: str
    paragraph: int
    listed: bool = False

    @property
    def is_question(self) -> bool:
        """Whether it asks something; "15?" is an answer."""
        is_guess = re.match(r"\W*[0-9]", self.text) is not None and len(words(self.text)) <= 3
        return self.text.rstrip("\"') ").endswith("?") and not is_guess


def normalise_text(text: str) -> str:
    """Return *text* in lower case without articles, punctuation and extra space, as SQuAD's scorer compares answers.

    Rajpurkar et al. 2016. Letters and digits of any script stay.

    >>> normalise_text(" The Eiffel-Tower. ")
    'eiffeltower'
    """
    lower = text.lower()
    plain = lower.translate(_WITHOUT_SIGNS) if text.isascii() else _NEITHER.sub("", lower)
    return " ".join([word for word in plain.split() if word not in _ARTICLES])


def words(text: str) -> list[str]:
    """Return the words of *text* in lower case, with no punctuation.

    >>> words("Max isn't an animal.")
    ['max', "isn't", 'an', 'animal']
    """
    return re.findall(r"[^\W_]+(?:'[a-z]+)?", text.lower().replace("\u2019", "'"))


def sentences(text: str) -> list[Sentence]:
    r"""Return the sentences of a cleaned response, without list markers and step labels.

    >>> [sentence.text for sentence in sentences("1. The answer is 5.\n2. The answer is 3.\n3.")]
    ['The answer is 5.', 'The answer is 3.']
    """
    parts: list[Sentence] = []
    paragraph, next_number, has_text = 0, 1, False
    for line in text.split("\n"):
        if not line.strip():
            paragraph += has_text
            has_text = False
            continue
        bullet = _BULLET.match(line)
        line = line[bullet.end() :] if bullet else line
        marker = _ENUMERATOR.match(line)
        listed = bool(bullet)
        if marker and int(marker[1]) in (1, next_number) and (line[marker.end() :].strip() or int(marker[1]) > 1):
            next_number, line, listed = int(marker[1]) + 1, line[marker.end() :], True
        line = _NUMBERED.sub(r"\1", line).strip()
        line = _LABEL.sub("", line) if ":" in line else line
        texts = [text[:MAX_SENTENCE] for text in _SENTENCE_END.split(line)]
        parts += [Sentence(text, paragraph, listed) for text in texts if text.strip()]
        has_text = True
    return parts


def repeats_question(sentence: str, question: str) -> bool:
    """Whether *sentence* only repeats *question*: all of it, or one of its clauses or sentences.

    >>> question = "Alice has 10 dollars, spends 4. How much left?"
    >>> repeats_question("Alice has 10 dollars.", question), repeats_question("10 dollars.", question)
    (True, False)
    """
    plain = normalise_text(sentence)
    plain_question, parts = _plain_parts(question)
    all_but_last = " ".join(plain.split()[:-1])  # "has 12 fewer toys" of "has 12 fewer"
    if plain in parts or (len(plain.split()) > 3 and plain_question.startswith(plain)):
        return bool(plain)
    pronoun, _, rest = plain.partition(" ")
    if pronoun in _PRONOUNS and len(rest.split()) > 1 and f" {rest} " in f" {plain_question} ":
        return True  # "He buys 7 more."
    is_beginning = len(all_but_last.split()) > 4 and f" {all_but_last} " in f" {plain_question} "
    return is_beginning or _retells(sentence, question)


@lru_cache(maxsize=256)
def _plain_parts(question: str) -> tuple[str, frozenset[str]]:
    """Return *question*, and each of its clauses and sentences, in normal form."""
    clauses = {*re.split(r"[,;:?.!]\s", question), *re.split(r"[.?!]\s", question)}
    return normalise_text(question), frozenset(normalise_text(clause) for clause in clauses)


def _retells(sentence: str, question: str) -> bool:
    """Whether *sentence* only combines facts of the question, and adds neither a word nor a number.

    It has two numbers or more, or one in a comparison ("Ann has 4 times as many as Bob."), calculates nothing and does
    not end in "is 4". If it has only two numbers, its words have to be those of the premises: the words of the last
    sentence may answer it.
    """
    numbers = find_numbers(sentence)
    if len(numbers) == 1 and _retells_one(sentence, numbers[0].text, question):
        return True
    compares = re.search(r"[0-9] (?:times|more|fewer|less)\b", sentence) is not None
    if len(numbers) < (1 if compares else 2) or _CALCULATED.search(sentence):
        return False
    premises = re.split(r"(?<=[.!?])\s+(?=[^.!?]*[.!?]?\s*$)", question)[0] if len(numbers) < 3 else question
    known = {word.rstrip("s") for word in words(premises)} | _FUNCTION_WORDS
    new_words = sum(word.rstrip("s") not in known for word in words(sentence))
    question_values = {number.value for number in find_numbers(question)}
    return new_words <= (len(numbers) > 2) and {number.value for number in numbers} <= question_values


def _retells_one(sentence: str, number: str, question: str) -> bool:
    """Whether *sentence* repeats the fact that the question states with *number*: "The baker sold 9 cakes."."""
    premises = [_stem(word) for word in words(re.split(r"(?<=[.!?])\s+(?=[^.!?]*[.!?]?\s*$)", question)[0])]
    stems = [_stem(word) for word in words(sentence)]
    index = stems.index(number) if number in stems else 0
    pairs = list(pairwise(premises))
    return index > 0 and (stems[index - 1], number) in pairs and set(stems) <= set(premises) | _FUNCTION_WORDS


def _stem(word: str) -> str:
    return IRREGULAR.get(word) or (word.removesuffix("s").removesuffix("ed") if len(word) > 3 else word)


def is_refusal(text: str) -> bool:
    """Whether the response declines to answer: "I'm sorry, I cannot help with that"; not "He cannot pay"."""
    return _REFUSAL.search(text) is not None


def is_loop(text: str) -> bool:
    """Whether the response repeats itself: it ends in the same short sequence of words three times or more.

    >>> is_loop("Max is a human. Max is a human. Max is a"), is_loop("Max is a human. Max is a dog.")
    (True, False)
    """
    tokens = words(text)[-400:]
    if len(tokens) < 4:
        characters = "".join(text.split())[-400:]
        if len(characters) < 12 or re.fullmatch(r"[-\d.,/$]{12,24}", characters, re.ASCII):
            return False  # a long number may hold one digit many times
        return any(_repeats(list(characters), period, 12) for period in range(1, 5))
    return any(_repeats(tokens, period, 2 * period + min(period, 3)) for period in range(1, len(tokens) // 2 + 1))


def is_empty_list(text: str) -> bool:
    """Whether a response is a list of nothing, line after line of "1."; line after line of "8" says 8."""
    lines = {line.strip(" *-\t") for line in text.split("\n")} - {""}
    return not any(character.isalpha() for character in text) and lines != {min(lines).rstrip(".")}


def is_counting(text: str) -> bool:
    """Whether a response is nothing but numbers, three or more, and not always the same one.

    >>> [is_counting(text) for text in ("1. 2. 3. 4.", "8, 8, 8", "5 + 3 = 8", "2. 2.5. 1.1. 3. m. 7")]
    [True, False, False, True]
    """
    if any(character in "=+*/" for character in text):
        return False
    values = [number.value for number in find_numbers(text[:2000])]
    if re.match(r"\s*1\.\s+2\.\s*(?:3\.|$|[0-9.\s]*$)", text):
        return True
    letters = sum(any(character.isalpha() for character in word) for word in words(text[:2000]))
    return len(values) > 2 and len(set(values)) > 1 and letters * 5 <= len(values) and (not letters or "." in text)


@lru_cache(maxsize=256)
def options_in(text: str) -> Mapping[str, str]:
    r"""Return the options that a response lists, by their letters; a list has an A and a B.

    >>> options_in("A) 7\nB) 8"), options_in("B) 8")
    ({'A': '7', 'B': '8'}, {})
    """
    marks = list(_OPTION.finditer(text[:2000]))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    options = {mark[1].upper(): text[mark.end() : end].split("\n")[0] for mark, end in zip(marks, ends, strict=False)}
    return options if {"A", "B"} <= set(options) else {}


def _repeats(tokens: list[str], period: int, at_least: int) -> bool:
    """Whether the last tokens repeat with *period*, over at least *at_least* tokens."""
    length = max(at_least, 2 * period + 1, 4)
    tail = tokens[-length:]
    return len(tail) == length and all(tail[i] == tail[i + period] for i in range(length - period))
