"""Labels: whether a sentence says yes, no, or that it cannot be known."""

from __future__ import annotations

import re
from typing import Literal

from reasoning_probe.scoring.extraction.sentences import IRREGULAR, words
from reasoning_probe.utils.numbers import NUMBER_WORDS

Label = Literal["yes", "no", "unknown"]

_LEADING: dict[str, Label] = {
    "yes": "yes", "yeah": "yes", "yep": "yes", "yup": "yes", "true": "yes", "correct": "yes", "certainly": "yes",
    "absolutely": "yes", "sure": "yes", "definitely": "yes", "indeed": "yes", "affirmative": "yes",
    "no": "no", "nope": "no", "nay": "no", "false": "no", "incorrect": "no", "negative": "no", "not": "no",
    "never": "no",
    "unknown": "unknown", "maybe": "unknown", "perhaps": "unknown", "possibly": "unknown", "uncertain": "unknown",
    "unclear": "unknown", "undetermined": "unknown", "unsure": "unknown", "indeterminate": "unknown",
    "inconclusive": "unknown",
}  # fmt: skip
_NOT_ABLE = (
    r"(?:can ?not|can't|could(?: not|n't)|(?:is|are|it's) (?:not ?|im)possible to|isn't possible to|impossible to|"
    r"no way to|unable to|not able to|do(?:es)?(?: not|n't)|hard to|difficult to)"
)
_TO_KNOW = (
    r"(?:be )?(?:know|known|tell|told|say|said|determined?|concluded?|infer|inferred|decided?|be sure|sure|certain|"
    r"answered|deduced?|mention|specify|indicate|provide)"
)
_UNKNOWN = re.compile(
    rf"\b(?:{_NOT_ABLE} (?:\w+ )?{_TO_KNOW}"
    r"|(?:not|\w+n't) (?:provide |give |have )?(?:enough|sufficient|any) (?:\w+ )?"
    r"(?:information|info|data|facts|details?|clues)"
    r"|no (?:\w+ )?(?:information|evidence|mention)|no ?one (?:knows|can know)|no way (?:of|to)"
    r"|nothing can be (?:known|said|concluded)|insufficient"
    r"|(?:more|additional|further) (?:information|info|data) (?:is |are )?(?:needed|required)"
    r"|not (?:guaranteed|enough|sufficient|necessarily|known|certain|clear|sure|specified|stated|mentioned|given|"
    r"provided|determined)"
    r"|un(?:known|certain|clear|determined)|in(?:determinate|conclusive)|depends on|it depends|could be either"
    r"|(?:may|might) or (?:may|might) not|(?:not|\w+n't) (?:logically |necessarily )?follow"
    r"|not something (?:that )?(?:we|you|one|anyone) can (?:know|tell|say|determine)"
    r"|(?:either|both)(?: \w+)? (?:is|are) possible|could be any(?:where|one|thing|body))\b",
    re.IGNORECASE,
)
_BOTH = re.compile(
    r"\W*(?:the answer is:? )?(?:both )?(?:yes\W{1,3}(?:and |or |but also )?no|no\W{1,3}(?:and |or |but also )?yes)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:(?:not true|not the case|false|incorrect|untrue|wrong) that|(?:impossible|not possible) for)\b",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^\(?[a-e][).:]\s+", re.IGNORECASE)
_VERDICT = re.compile(
    r"^(?:it|this|that|(?:so |therefore,? )?the (?:statement|claim|conclusion|answer|argument|inference))(?:'s| is) "
    r"((?:not )?(?:true|correct|right|valid)|false|incorrect|untrue|wrong|invalid)\W*$"
    r"|^(i (?:do not|don't)? ?(?:think|believe) so)\b|(?:,|\b(?:so|therefore|thus|hence|then|well),?)"
    r" (yes|no)\W*$",
    re.IGNORECASE,
)
_AS_LABEL: dict[str, Label] = {
    "true": "yes", "correct": "yes", "right": "yes", "valid": "yes", "not valid": "no", "invalid": "no",
    "yes": "yes", "i think so": "yes", "i believe so": "yes",
    "not true": "no", "not correct": "no", "not right": "no", "false": "no", "incorrect": "no", "untrue": "no",
    "wrong": "no", "no": "no", "i don't think so": "no", "i do not think so": "no", "i don't believe so": "no",
    "i do not believe so": "no",
}  # fmt: skip
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
"""Words of which one says no where the other is asked: "The shop is closed." to "Is the shop open?"."""
_MEASURES = {
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "year",
    "time",
    "dollar",
    "cent",
    "meter",
    "mile",
    "point",
}
_LEAD_IN = re.compile(
    r"^(?:(?:so|therefore|thus|hence|then|well|and|but|ok(?:ay)?|finally|in conclusion)\b,?\s+)+", re.IGNORECASE
)
_CONDITION = re.compile(r"\b(?:if|whether)\b[^,;]{1,200}(?:[,;]|$)", re.IGNORECASE)
_HEDGED = {"might", "may", "perhaps", "possibly", "maybe", "could"}

_QUANTIFIERS = {"some", "all", "any", "every", "each", "no", "most"}
_CLAUSE = re.compile(
    r"[,;:.]|\b(?:so|therefore|thus|hence|because|since|and|but|while|as|(?:which|this) means(?: that)?|that)\b",
    re.IGNORECASE,
)

_AUXILIARIES = {"is", "are", "was", "were", "am", "be", "been", "do", "does", "did", "can", "could", "will", "would"}
_AUXILIARIES |= {"should", "may", "might", "must", "shall"}
_NEGATIONS = {"not", "never", "cannot", "no", "neither", "unable"}
_FILLERS = {"a", "an", "the", "also", "indeed", "still", "therefore", "so", "thus", "then", "certainly", "definitely"}
_FILLERS |= {"which", "to", "possibly", "perhaps", "maybe", "actually", "really", "probably", "likely", "always"}
_PRONOUNS = {"it", "he", "she", "they", "this", "that"}
_SHORTENED = {f"{pronoun}'{verb}" for pronoun in _PRONOUNS for verb in ("s", "re", "ll", "d")}
_NOWADAYS = {"today", "now", "currently", "tonight"}
_POINTING = {"this", "that", "these", "those"}
_SUBJECTS = [[pronoun] for pronoun in sorted(_PRONOUNS)]
_NO_NOUN = _PRONOUNS | _FILLERS | _AUXILIARIES | {"there", "we", "you", "i", "because", "since", "not", "and", "but"}
_HYPOTHETICAL = {"if", "whether", "suppose", "assume", "assuming"}


def label_in(sentence: str, question: str) -> Label | None:
    """Return what *sentence* answers to a yes/no *question*, or ``None`` if it answers nothing.

    "Unknown" is heard first ("No, it cannot be known"), then the first word, then a statement of what was asked.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> [label_in(text, question) for text in ("Yes.", "Max is not an animal.", "There is no way to tell.", "Wow.")]
    ['yes', 'no', 'unknown', None]
    """
    plain = _OPTION.sub("", sentence.replace("\u2019", "'").strip())
    plain = re.sub(r"^of course\b", "yes", plain, flags=re.IGNORECASE)
    plain = re.sub(r"\bon time\b", "punctual", plain, flags=re.IGNORECASE)
    if _UNKNOWN.search(plain):
        return "unknown"
    led = _LEAD_IN.sub("", plain)
    plain = led if words(led)[:1] in (["yes"], ["no"]) else plain
    said = words(plain)
    if not said or said[0] in _HYPOTHETICAL or plain.endswith("?"):
        return None
    if said[0] in _LEADING and not (said[0] == "no" and _is_quantifier(plain)):
        return _LEADING[said[0]]
    verdict = _VERDICT.search(plain)
    if verdict:
        return _AS_LABEL[verdict[verdict.lastindex or 0].lower()]
    contrast = re.fullmatch(
        r"(\w+) (?:is|are) (?:.{1,80}?),? but (not .{1,80})", plain
    )  # "Max is a dog, but not a cat."
    if contrast:
        plain = f"{contrast[1]} is {contrast[2]}"
        return _statement(words(plain), plain, question)
    plain = _CONDITION.sub("", plain)  # "To know if Max is an animal, we need more."
    without_aside = re.sub(r",[^,]{1,80},", "", plain)  # "Max, being a dog, is an animal."
    return _statement(words(plain), plain, question) or _statement(words(without_aside), without_aside, question)


def denies(sentence: str, label: str, question: str) -> bool:
    """Whether *sentence* states the opposite of a *label* that was just given, in the words of the question.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> [denies(text, "no", question) for text in ("Max is an animal.", "Max is a dog.", "Yes.", "If Max is an animal")]
    [True, False, False, False]
    """
    said = words(sentence)
    if not said or said[0] in _HYPOTHETICAL or sentence.rstrip().endswith("?") or _UNKNOWN.search(sentence):
        return False
    leading = _LEADING.get(said[0])
    stated = _statement(said[1:] if leading in ("yes", "no") else said, sentence, question)
    agrees = leading in (None, stated)  # "No, Max is an animal." would take nothing back
    return agrees and stated in ("yes", "no") and label in ("yes", "no") and stated != label


def says_both(sentence: str, question: str) -> bool:
    """Whether *sentence* answers yes and no at once: "Yes and no.", or "No, Max is an animal." where that is asked.

    >>> says_both("Yes, Max is not an animal.", "Is Max an animal?"), says_both("No, Max is not.", "Is Max an animal?")
    (True, False)
    """
    if _BOTH.match(sentence):
        return True
    said = words(sentence)
    if (
        not said
        or said[0] == "not"
        or (said[0] == "no" and _is_quantifier(sentence))
        or _LEADING.get(said[0]) not in ("yes", "no")
        or _UNKNOWN.search(sentence)
    ):
        return False
    stated = _statement(said[1:], sentence, question)
    return stated in ("yes", "no") and stated != _LEADING[said[0]]


def _is_quantifier(sentence: str) -> bool:
    """Whether a leading "no" belongs to a noun ("No fish can fly") and is no answer of its own."""
    match = re.match(r"\W*no\s+([a-z]+)s?\s", sentence, re.IGNORECASE)
    return match is not None and match[1].islower() and match[1] not in _NO_NOUN


def _statement(said: list[str], sentence: str, question: str) -> Label | None:
    """Return what *said* states of what the question's last sentence asks, in the question's own words."""
    asked = words(re.split(r"[.!?;]\s", question.strip().rstrip("?. "))[-1])
    start = next((index for index, word in enumerate(asked) if word in _AUXILIARIES), None)
    if start is None:
        return None
    wanted, _ = _content(asked[start + 1 :])
    if said[:1] and said[0] in _PRONOUNS and wanted and wanted[-1] in _NOWADAYS - set(said):
        wanted = wanted[:-1]  # "It is not open on Monday."
    stated, negations = _antonyms(*_content(said), wanted)
    if asked[start] == "did":
        wanted, stated = [_present(word) for word in wanted], [_present(word) for word in stated]
    for clause in _clauses(sentence):
        if decided := _comparison(clause, wanted):
            return decided
    verb = set(said) - set(stated)
    if stated in (*_SUBJECTS, wanted[:1]) and verb and all(_is_verb(word) for word in verb):  # "He is.", "Max cannot."
        return "no" if negations else "yes"
    for skipped in range(1 if set(wanted[:1]) & _QUANTIFIERS else 4):  # also "he is an animal", "it has a bell"
        predicate = wanted[skipped:]
        if skipped and not (predicate and ("than" in predicate or "than" not in wanted)):
            break
        for at in range(len(stated) - len(predicate) + 1 if predicate else 0):
            pointed = skipped == 1 and at == 0 and wanted[0] in _POINTING  # "The car is cheap."
            named = not skipped or pointed or stated[max(0, at - 1) : at] in _SUBJECTS
            if stated[at : at + len(predicate)] != predicate or not named:
                continue
            if (_HEDGED - set(asked)) & set(said):
                return "unknown"
            denied = sum(at <= place < at + len(predicate) for place in negations)
            denied += bool(_DENIED.search(sentence))
            if denied % 2 and wanted[0] == "some" == stated[at]:
                return None  # "Some cats are not black." leaves open whether some are
            return "no" if denied % 2 else "yes"
    if wanted[:1] == ["all"] and ["some", *wanted[1:]] == stated and negations:  # "Some cats are not black."
        return "no"
    if wanted[:1] == ["all"] and stated[: len(wanted) - 1] == wanted[1:]:  # "Cats breathe air."
        return "no" if negations else "yes"
    return None


def _clauses(sentence: str) -> list[list[str]]:
    """Return the words that matter of each clause that denies nothing, the last first."""
    clauses = [_content(words(clause)) for clause in _CLAUSE.split(sentence)]
    return [kept for kept, negations in reversed(clauses) if not negations]


def _antonyms(stated: list[str], negations: list[int], wanted: list[str]) -> tuple[list[str], list[int]]:
    """Put what is stated in the terms of what is *wanted*: no numbers that were not asked for, no opposites.

    >>> _antonyms(["rolf", "15", "minute", "late"], [], ["rolf", "late"])
    (['rolf', 'late'], [])
    >>> _antonyms(["bakery", "closed", "today"], [], ["bakery", "open", "today"])
    (['bakery', 'open', 'today'], [1])
    """
    kept: list[str] = []
    denied: list[int] = []
    counted = False
    for index, word in enumerate(stated):
        denied += [len(kept)] * negations.count(index)
        number = (word.isdecimal() or word in NUMBER_WORDS) and word not in wanted
        if number or (counted and word in _MEASURES and word not in wanted):
            counted = True
            continue
        counted = False
        opposite = next((asked for asked in wanted if {asked, word} in _ANTONYMS and word not in wanted), None)
        if opposite:
            denied.append(len(kept))
            word = opposite
        kept.append(word)
    return kept, denied + [len(kept)] * negations.count(len(stated))


def _comparison(stated: list[str], wanted: list[str]) -> Label | None:
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
    return word in _AUXILIARIES or word in _NEGATIONS or word.endswith("n't")


def _content(tokens: list[str]) -> tuple[list[str], list[int]]:
    """Return the words that matter, without inflection, and before which of them a negation stood."""
    kept: list[str] = []
    negations: list[int] = []
    for token in (each.partition("'")[0] if each in _SHORTENED else each for each in tokens):
        if token in _NEGATIONS or token.endswith("n't"):
            negations.append(len(kept))
        elif token not in _AUXILIARIES and token not in _FILLERS:
            stem = token[:-1] if len(token) > 3 and token.endswith("s") and token != "this" else token
            kept.append({"has": "have", "had": "have"}.get(token, stem))
    return kept, negations
