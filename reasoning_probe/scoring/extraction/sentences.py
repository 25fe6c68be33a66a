"""Responses: what a model wrote, made ready to be read.

Nothing here knows which answer is right. The text is clipped to its head and tail first, so that everything
after works on bounded text whatever the model wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from reasoning_probe.utils.numbers import find_numbers

MAX_SENTENCE = 1500
"""Only so many characters of a sentence are read."""

_PRONOUNS = {"he", "she", "it", "they", "we", "i", "you", "his", "her", "their"}
_LITTLE_WORDS = _PRONOUNS | {
    "and",
    "so",
    "then",
    "but",
    "who",
    "also",
    "a",
    "an",
    "the",
    "than",
    "of",
    "ha",
    "are",
    "were",
    "wa",
}
IRREGULAR = {
    "has": "have", "had": "have", "sold": "sell", "bought": "buy", "ate": "eat", "gave": "give", "found": "find",
    "spent": "spend", "made": "make", "lost": "lose", "paid": "pay", "took": "take", "got": "get", "won": "win",
}  # fmt: skip
_CALCULATED = re.compile(r"[0-9] ?[-+*/=\u2212\u00d7\u00f7]|\b(?:is|are|equals) [^\w\s]?[0-9.,]+\W*$")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
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
    """A sentence of a response with the number of its paragraph, and whether it is an entry of a list."""

    text: str
    paragraph: int
    listed: bool = False

    @property
    def is_question(self) -> bool:
        """Whether it asks something; "15?" says 15."""
        unsure = re.match(r"\W*[0-9]", self.text) is not None and len(words(self.text)) <= 3
        return self.text.rstrip("\"') ").endswith("?") and not unsure


def normalise_text(text: str) -> str:
    """Return *text* in lower case without articles, punctuation and extra space, as SQuAD's scorer compares answers.

    Rajpurkar et al. 2016. Letters and digits of any script stay.

    >>> normalise_text(" The Eiffel-Tower. ")
    'eiffeltower'
    """
    kept = "".join(character for character in text.lower() if character.isalnum() or character.isspace())
    return " ".join(_ARTICLES.sub(" ", kept).split())


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
    found = []
    paragraph, due, filled = 0, 1, False
    for line in text.split("\n"):
        if not line.strip():
            paragraph += filled
            filled = False
            continue
        bullet = _BULLET.match(line)
        line = line[bullet.end() :] if bullet else line
        marker = _ENUMERATOR.match(line)
        listed = bool(bullet)
        if marker and int(marker[1]) in (1, due) and (line[marker.end() :].strip() or int(marker[1]) > 1):
            due, line, listed = int(marker[1]) + 1, line[marker.end() :], True
        line = _LABEL.sub("", _NUMBERED.sub(r"\1", line).strip())
        parts = [part[:MAX_SENTENCE] for part in _SENTENCE_END.split(line)]
        found += [Sentence(part, paragraph, listed) for part in parts if part.strip()]
        filled = True
    return found


def repeats_question(sentence: str, question: str) -> bool:
    """Whether *sentence* only says again what the question says: all of it, or one of its clauses or sentences.

    >>> question = "Alice has 10 dollars, spends 4. How much left?"
    >>> repeats_question("Alice has 10 dollars.", question), repeats_question("10 dollars.", question)
    (True, False)
    """
    said = normalise_text(sentence)
    asked = normalise_text(question)
    clauses = [*re.split(r"[,;:?.!]\s", question), *re.split(r"[.?!]\s", question)]
    parts = {normalise_text(clause) for clause in clauses}
    begun = " ".join(said.split()[:-1])  # "has 12 fewer toys" of "has 12 fewer"
    if said in parts or (len(said.split()) > 3 and asked.startswith(said)):
        return bool(said)
    pronoun, _, rest = said.partition(" ")
    if pronoun in _PRONOUNS and len(rest.split()) > 1 and f" {rest} " in f" {asked} ":
        return True  # "He buys 7 more."
    return (len(begun.split()) > 4 and f" {begun} " in f" {asked} ") or _retells(sentence, question)


def _retells(sentence: str, question: str) -> bool:
    """Whether *sentence* puts the question's facts together again, with no word or number of its own.

    It holds two numbers or more, or compares with one ("Ann has 4 times as many as Bob."), calculates nothing and ends
    in no "is 4". A few numbers are only retold in the words of the premises: those of the last sentence may answer it.
    """
    numbers = find_numbers(sentence)
    if len(numbers) == 1 and _retells_one(sentence, numbers[0].text, question):
        return True
    compares = re.search(r"[0-9] (?:times|more|fewer|less)\b", sentence) is not None
    if len(numbers) < (1 if compares else 2) or _CALCULATED.search(sentence):
        return False
    premises = re.split(r"(?<=[.!?])\s+(?=[^.!?]*[.!?]?\s*$)", question)[0] if len(numbers) < 3 else question
    asked = {word.rstrip("s") for word in words(premises)} | _LITTLE_WORDS
    own = sum(word.rstrip("s") not in asked for word in words(sentence))
    return own <= (len(numbers) > 2) and {number.value for number in numbers} <= {
        number.value for number in find_numbers(question)
    }


def _retells_one(sentence: str, number: str, question: str) -> bool:
    """Whether *sentence* tells the one fact that the question gives with *number*: "The baker sold 9 cakes."."""
    premises = [_stem(word) for word in words(re.split(r"(?<=[.!?])\s+(?=[^.!?]*[.!?]?\s*$)", question)[0])]
    said = [_stem(word) for word in words(sentence)]
    at = said.index(number) if number in said else 0
    pairs = list(pairwise(premises))
    return at > 0 and (said[at - 1], number) in pairs and set(said) <= set(premises) | _LITTLE_WORDS


def _stem(word: str) -> str:
    return IRREGULAR.get(word) or (word.removesuffix("s").removesuffix("ed") if len(word) > 3 else word)


def is_refusal(text: str) -> bool:
    """Whether the response declines to answer: "I'm sorry, I cannot help with that"; not "He cannot pay"."""
    return _REFUSAL.search(text) is not None


def is_loop(text: str) -> bool:
    """Whether the response goes round in circles: its end is one short stretch three times over, or more.

    >>> is_loop("Max is a human. Max is a human. Max is a"), is_loop("Max is a human. Max is a dog.")
    (True, False)
    """
    tokens = words(text)[-400:]
    if len(tokens) < 4:
        squeezed = "".join(text.split())[-400:]
        if len(squeezed) < 12 or re.fullmatch(r"[-\d.,/$]{12,24}", squeezed, re.ASCII):
            return False  # a long number may hold one digit many times
        return any(_repeats(list(squeezed), period, 12) for period in range(1, 5))
    return any(_repeats(tokens, period, 2 * period + min(period, 3)) for period in range(1, len(tokens) // 2 + 1))


def is_counting(text: str) -> bool:
    """Whether a reply is nothing but numbers, three or more, and not always the same one.

    >>> [is_counting(text) for text in ("1. 2. 3. 4.", "8, 8, 8", "5 + 3 = 8", "2. 2.5. 1.1. 3. m. 7")]
    [True, False, False, True]
    """
    if any(character in "=+*/" for character in text):
        return False
    values = [number.value for number in find_numbers(text[:2000])]
    if re.match(r"\s*1\.\s+2\.\s*(?:3\.|$|[0-9.\s]*$)", text):
        return True
    strayed = sum(any(character.isalpha() for character in word) for word in words(text[:2000]))
    return len(values) > 2 and len(set(values)) > 1 and strayed * 5 <= len(values) and (not strayed or "." in text)


def options_in(text: str) -> dict[str, str]:
    r"""Return the options that a reply lists, by their letters; a list has an A and a B.

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
