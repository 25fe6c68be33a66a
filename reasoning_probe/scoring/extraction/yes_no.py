"""Yes, no and unknown: the label that a sentence gives to a yes/no question."""

from __future__ import annotations

import re

from reasoning_probe.scoring.extraction.sentences import words
from reasoning_probe.scoring.extraction.yes_no_statement import AUXILIARIES, FILLERS, PRONOUNS, Label, statement_label

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
_LEAD_IN = re.compile(
    r"^(?:(?:so|therefore|thus|hence|then|well|and|but|ok(?:ay)?|finally|in conclusion)\b,?\s+)+", re.IGNORECASE
)
_CONDITION = re.compile(r"\b(?:if|whether)\b[^,;]{1,200}(?:[,;]|$)", re.IGNORECASE)
_NO_NOUN = PRONOUNS | FILLERS | AUXILIARIES | {"there", "we", "you", "i", "because", "since", "not", "and", "but"}
_HYPOTHETICAL = {"if", "whether", "suppose", "assume", "assuming"}


def label_in(sentence: str, question: str) -> Label | None:
    """Return the label that *sentence* gives to a yes/no *question*, or ``None`` if it gives none.

    "Unknown" comes first ("No, it cannot be known"), then the first word, then a statement of what the question asks.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> [label_in(text, question) for text in ("Yes.", "Max is not an animal.", "There is no way to tell.", "Wow.")]
    ['yes', 'no', 'unknown', None]
    """
    plain = _OPTION.sub("", sentence.replace("\u2019", "'").strip())
    plain = re.sub(r"^of course\b", "yes", plain, flags=re.IGNORECASE)
    plain = re.sub(r"\bon time\b", "punctual", plain, flags=re.IGNORECASE)
    if _UNKNOWN.search(plain):
        return "unknown"
    without_lead_in = _LEAD_IN.sub("", plain)
    if words(without_lead_in)[:1] in (["yes"], ["no"]):
        plain = without_lead_in
    tokens = words(plain)
    if not tokens or tokens[0] in _HYPOTHETICAL or plain.endswith("?"):
        return None
    if tokens[0] in _LEADING and not (tokens[0] == "no" and _is_quantifier(plain)):
        return _LEADING[tokens[0]]
    verdict = _VERDICT.search(plain)
    if verdict:
        return _AS_LABEL[verdict[verdict.lastindex or 0].lower()]
    contrast = re.fullmatch(
        r"(\w+) (?:is|are) (?:.{1,80}?),? but (not .{1,80})", plain
    )  # "Max is a dog, but not a cat."
    if contrast:
        plain = f"{contrast[1]} is {contrast[2]}"
        return statement_label(plain, question)
    plain = _CONDITION.sub("", plain)  # "To know if Max is an animal, we need more."
    without_aside = re.sub(r",[^,]{1,80},", "", plain)  # "Max, being a dog, is an animal."
    return statement_label(plain, question) or statement_label(without_aside, question)


def denies(sentence: str, label: str, question: str) -> bool:
    """Whether *sentence* states the opposite of *label*, which a sentence before it gave, in the words of the question.

    >>> question = "All dogs are animals. Max is a dog. Is Max an animal?"
    >>> [denies(text, "no", question) for text in ("Max is an animal.", "Max is a dog.", "Yes.", "If Max is an animal")]
    [True, False, False, False]
    """
    tokens = words(sentence)
    if not tokens or tokens[0] in _HYPOTHETICAL or sentence.rstrip().endswith("?") or _UNKNOWN.search(sentence):
        return False
    leading = _LEADING.get(tokens[0])
    stated = statement_label(sentence, question, tokens[1:] if leading in ("yes", "no") else tokens)
    agrees = leading in (None, stated)  # "No, Max is an animal." denies nothing
    return agrees and stated in ("yes", "no") and label in ("yes", "no") and stated != label


def says_both(sentence: str, question: str) -> bool:
    """Whether *sentence* says yes and no: "Yes and no.", or "No, Max is an animal." where the question asks that.

    >>> says_both("Yes, Max is not an animal.", "Is Max an animal?"), says_both("No, Max is not.", "Is Max an animal?")
    (True, False)
    """
    if _BOTH.match(sentence):
        return True
    tokens = words(sentence)
    if (
        not tokens
        or tokens[0] == "not"
        or (tokens[0] == "no" and _is_quantifier(sentence))
        or _LEADING.get(tokens[0]) not in ("yes", "no")
        or _UNKNOWN.search(sentence)
    ):
        return False
    stated = statement_label(sentence, question, tokens[1:])
    return stated in ("yes", "no") and stated != _LEADING[tokens[0]]


def _is_quantifier(sentence: str) -> bool:
    """Whether a leading "no" belongs to a noun ("No fish can fly") and is no answer."""
    match = re.match(r"\W*no\s+([a-z]+)s?\s", sentence, re.IGNORECASE)
    return match is not None and match[1].islower() and match[1] not in _NO_NOUN
