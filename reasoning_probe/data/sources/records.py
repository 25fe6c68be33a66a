"""Records: from a row whose fields have the names of an item's to the item.

An answer that ends with GSM8K's ``#### N`` (Cobbe et al. 2021) is the solution, and N the answer. ``choices`` is a
list, or ARC's ``{"text": [...], "label": [...]}``; ``answer`` is the label of the right choice, its index from 0 if it
is a number, or its text. ``shapes.py`` brings the rows of other datasets into this form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any, cast, get_args

from reasoning_probe.data.items import AnswerKind, Donor, Item, ItemError
from reasoning_probe.data.sources.base import DatasetError, Format
from reasoning_probe.utils.text import quoted

_GSM8K_ANSWER = re.compile(r"^#### *(.*)\Z", re.MULTILINE)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"(\d)\.0+(?!\d)")
_WHOLE_ALONE = re.compile(r"([+-]?\d[\d,]*)\.0*", re.ASCII)


_LABEL = re.compile(r"\(?(\w+)[).:]?")

OBJECT_FIELDS = ("tags", "parts", "counterfactual", "same_answer")
"""Fields of a row that are objects; a field of such a name that holds something else may be another data set's."""

ITEM_FIELDS = (
    *("id", "question", "answer", "solution", "kind", "operands", "operation", "choices", "prompt", "form"),
    *OBJECT_FIELDS,
)
"""The fields of a row that is read here."""


class Number(str):
    """A number as its source writes it, so that no digit is lost."""


def item_of(data: object, where: str) -> tuple[Item, Format]:
    """Return the item in *data*, a row of a source, and its format. Raises :class:`DatasetError` that names *where*."""
    if not isinstance(data, Mapping):
        raise DatasetError(f'{where}: not a JSON object: write {{"question": ..., "answer": ...}}')
    question = text_of(data, "question", where)
    choices = _choices(data, where)
    answer = _right_choice(data, choices, where) if choices else text_of(data, "answer", where, numbers=True)
    kind = _kind(data, where)
    solution = text_of(data, "solution", where, optional=True)
    form: Format = "plain"
    if not choices and (match := _GSM8K_ANSWER.search(answer.rstrip())):
        form, solution, answer = "gsm8k", answer, match[1]
        if not answer:
            raise DatasetError(f"{where}: no answer after ####: end the answer with #### and the number")
    if not choices and kind != "text":
        answer = whole(answer)
    try:
        item = Item(
            id=text_of(data, "id", where, numbers=True, optional=True) or None,
            question=question,
            answer=answer,
            solution=solution or None,
            kind=kind,
            operands=_operands(data, where),
            operation=text_of(data, "operation", where, optional=True) or None,
            choices=choices,
            prompt=text_of(data, "prompt", where, optional=True) or None,
            form=text_of(data, "form", where, optional=True) or None,
            tags=_tags(data),
            parts=_parts(data, where),
            counterfactual=_donor(data, "counterfactual", choices, where),
            same_answer=_donor(data, "same_answer", choices, where),
        )
    except ItemError as error:
        raise DatasetError(f"{where}: {error}") from error
    return item, form


def whole(text: str) -> str:
    """Return *text* without its decimal places if it is a whole number: tables write 8 as 8.0, which no model says.

    >>> whole("8.0"), whole("8.50"), whole("version 8.0")
    ('8', '8.50', 'version 8.0')
    """
    match = _WHOLE_ALONE.fullmatch(text.strip())
    return match[1] if match else text


def without_zeros(text: str) -> str:
    """Return *text* with all whole numbers in it without decimal places.

    >>> without_zeros("( 76.0 - 25.50 )")
    '( 76 - 25.50 )'
    """
    return _WHOLE.sub(r"\1", text)


def plain(value: Any) -> Any:
    """Return the *value* of a table's cell in JSON's types, with each number as :class:`Number`."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None  # a table's empty cell
        return Number(int(value) if value.is_integer() and abs(value) < 2**53 else repr(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


# -- multiple choice ------------------------------------------------------------------------------------------------


def _choices(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    choices = data.get("choices")
    if isinstance(choices, Mapping):
        choices = choices.get("text")
    return _list_of("choice", choices, "texts", where)


def _right_choice(data: Mapping[str, Any], choices: tuple[str, ...], where: str) -> str:
    """Return the text of the right choice, which the row names by its label, by its index or by its text."""
    answer = text_of(data, "answer", where, numbers=True).strip()
    labels = data["choices"].get("label") if isinstance(data["choices"], Mapping) else None
    if isinstance(labels, list) and answer in map(str, labels[: len(choices)]):
        return choices[[str(label) for label in labels].index(answer)]
    labels = [str(label) for label in labels] if isinstance(labels, list) else list(ascii_uppercase)
    number = whole(answer)
    index = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else len(choices)
    if isinstance(data["answer"], Number) and index < len(choices):
        return choices[index]
    if answer in choices:
        return answer
    label = match[1].upper() if (match := _LABEL.fullmatch(answer)) else answer
    if label in labels[: len(choices)]:
        return choices[labels.index(label)]
    if index < len(choices):
        return choices[index]
    raise DatasetError(
        f"{where}: the answer {quoted(answer)} is not one of the {len(choices)} choices: give its letter, its place"
        " from 0 on, or its text"
    )


# -- fields ---------------------------------------------------------------------------------------------------------


def text_of(data: Mapping[str, Any], key: str, where: str, numbers: bool = False, optional: bool = False) -> str:
    """Return the text at *key*; if it is *optional*, an absent one is ``""``. *numbers* allows a number, as text."""
    value = data.get(key)
    if value is None:
        if optional:
            return ""
        raise DatasetError(f'{where}: no {key}: add "{key}"')
    if not isinstance(value, str) or (isinstance(value, Number) and not numbers):
        wanted = "a text or a number" if numbers else "a text"
        raise DatasetError(f"{where}: {key} is {json_name(value)}: make it {wanted}")
    if not value.strip():
        if optional:
            return ""
        raise DatasetError(f"{where}: {key} is empty: give it a text")
    if _LONE_SURROGATE.search(value):
        raise DatasetError(f"{where}: {key} holds half of a surrogate pair: write the whole character")
    return whole(value) if isinstance(value, Number) else str(value)


def _kind(data: Mapping[str, Any], where: str) -> AnswerKind | None:
    kind = data.get("kind")
    if kind is not None and kind not in get_args(AnswerKind):
        raise DatasetError(f"{where}: kind is {quoted(kind)}: use one of {', '.join(get_args(AnswerKind))}")
    return cast("AnswerKind | None", kind)


def _operands(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return _list_of("operand", data.get("operands"), "numbers", where)


def _tags(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags of a row, those that have a value; tags in a list are another data set's keywords."""
    tags = data.get("tags")
    if not isinstance(tags, Mapping):
        return {}
    return {
        name: whole(value) if isinstance(value, Number) else value for name, value in tags.items() if value is not None
    }


def _parts(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the parts of a row with whole numbers in their spans."""
    parts = data.get("parts")
    if parts is None:
        return {}
    if not isinstance(parts, Mapping):
        raise DatasetError(f'{where}: parts is {json_name(parts)}: make it an object, {{"operands": [[8, 9]]}}')
    return {name: _whole_numbers(spans) for name, spans in parts.items() if spans is not None}


def _whole_numbers(value: Any) -> Any:
    """Return *value* with ``int`` in place of each :class:`Number` that is whole, in lists as well."""
    if isinstance(value, list):
        return [_whole_numbers(entry) for entry in value]
    return int(value) if isinstance(value, Number) and re.fullmatch(r"\d{1,9}", value, re.ASCII) else value


def _donor(data: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> Donor | None:
    """Return the question in the object at *key*, of an item with *choices*; ``None`` if there is none."""
    row = data.get(key)
    if row is None:
        return None
    if not isinstance(row, Mapping):
        raise DatasetError(f'{where}: {key} is {json_name(row)}: make it an object, {{"question": ..., "answer": ...}}')
    where = f"{where}: {key}"
    own_choices = _choices(row, where)
    if own_choices or choices:
        listed = row if own_choices else {**row, "choices": data["choices"]}
        answer = _right_choice(listed, own_choices or choices, where)
    else:
        answer = text_of(row, "answer", where, numbers=True)
        if match := _GSM8K_ANSWER.search(answer.rstrip()):
            answer = match[1]
        answer = answer if data.get("kind") == "text" else whole(answer)
    try:
        return Donor(
            question=text_of(row, "question", where),
            answer=answer,
            choices=own_choices,
            prompt=text_of(row, "prompt", where, optional=True) or None,
        )
    except ItemError as error:
        raise DatasetError(f"{where}: {error}") from error


def _list_of(key: str, entries: Any, kind: str, where: str) -> tuple[str, ...]:
    """Return the texts of *entries*, a list or ``None``; messages call each of them *key*."""
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise DatasetError(f"{where}: {key}s is {json_name(entries)}: make it a list of {kind}")
    return tuple(text_of({key: entry}, key, where, numbers=True) for entry in entries)


def json_name(value: object) -> str:
    """Return JSON's name for the type of *value*."""
    names = {bool: "true or false", list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return names.get(type(value), "a number")
