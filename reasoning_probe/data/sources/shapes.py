"""The shapes of known datasets: which fields of a row belong to its question, and which do not.

The tables below decide about a field by its name, in lower case. A field with text that stands in no table is refused,
since it may belong to the question, unless the user names the fields (``fields.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.data.sources.base import DatasetError, Format, NumberedItems, NumberedRows
from reasoning_probe.data.sources.fields import SYNTAX, Fields
from reasoning_probe.data.sources.object_fields import is_foreign, moved_parts
from reasoning_probe.data.sources.records import ITEM_FIELDS, Number, item_of, json_name, text_of, without_zeros
from reasoning_probe.utils.latex import last_boxed
from reasoning_probe.utils.numbers import parse_number
from reasoning_probe.utils.text import quoted

# -- the tables -----------------------------------------------------------------------------------------------------

CONTEXTS = {
    "context": "\n",  # Logic-LLM, LogiQA, RuleTaker
    "passage": "\n",  # BoolQ, bAbI, DROP
    "article": "\n",  # RACE
    "paragraph": "\n",
    "background": "\n",
    "scenario": "\n",
    "story": "\n",  # bAbI
    "theory": "\n",  # ProofWriter
    "premises": "\n",  # FOLIO
    "facts": "\n",  # StrategyQA
    "body": " ",  # ASDiv, SVAMP: the first sentences of the question's own paragraph
}
"""Fields that are asked before the question, in the order of the row, and what stands between them and the next."""

OTHER_NAMES = {
    "question": ("problem", "query", "question_stem", "conclusion"),
    "choices": ("options",),
    "answer": (
        *("answerkey", "answer_key", "correct", "correct_answer", "correct_option", "final_answer", "target", "label"),
        *("answer_index", "answer_idx"),
    ),
}
"""Other names of a field, the first that a row has; those of the answer are passed over where there is an answer."""

IGNORED = {
    "they number the row": ("idx", "index", "id_string", "qid", "uid", "uuid", "number", "no", "name", "hash"),
    "they say where the row is from": (
        *("source", "src", "url", "link", "dataset", "dataset_name", "data_source", "origin", "license", "author"),
        *("authors", "creator", "annotator", "worker", "date", "year", "created_at", "split", "fold", "config"),
        *("version", "title", "citation", "file", "filename", "path"),
    ),
    "they say of what sort the question is": (
        *("category", "subcategory", "subject", "sub_subject", "topic", "type", "task", "level", "difficulty", "grade"),
        *("language", "lang", "tag", "tags", "keyword", "keywords", "domain", "subdomain", "field", "area", "skill"),
        *("skills", "subset", "group", "class", "concept", "question_concept", "term", "strategy", "status"),
    ),
    "they say how the answer is reached, which the model is to do": (
        *("explanation", "explanations", "rationale", "rationales", "cot", "cot_content", "chain_of_thought", "step"),
        *("steps", "reasoning", "proof", "proofs", "allproofs", "decomposition", "equation", "equations", "formula"),
        *("annotated_formula", "linear_formula", "thought", "thoughts", "justification", "supporting_facts"),
        *("supporting_fact", "fact1", "derivation", "worked_solution", "solutions"),
    ),
    "they hold other forms of the answer, or other answers": (
        *("answers", "aliases", "answer_aliases", "normalized_answer", "incorrect_answers", "wrong_answers"),
    ),
    "they repeat other fields, some of them in a formal language": (
        *("question_concat", "representation", "proofdetails", "proofswithintermediates", "logic_program"),
        *("raw_logic_programs", "nl2fol"),
    ),
    "they say what a model or a person answered": (
        *("response", "responses", "prediction", "predictions", "predicted_answer", "output", "outputs", "completion"),
        *("generated_answer", "generation", "model", "votes"),
    ),
    "they are remarks about the row": (
        *("meta", "metadata", "meta_info", "extra", "extra_info", "comment", "comments", "note", "notes", "remark"),
        *("remarks", "annotations"),
    ),
}
"""Fields that are not asked, by the reason."""

IGNORED_ENDINGS = (
    *("_id", "_idx", "_index", "_url", "_type", "_name", "_category", "_subject", "_level", "_source"),
    *("_hash", "_date", "_fol", "_program", "_proof"),
)
"""How names of fields end that are not asked: they number or sort the row, or are in a formal language."""

IGNORED_BESIDE = {"description": "term", "evidence": "term", "triples": "theory", "rules": "theory"}
"""Fields that are not asked where another stands beside them: StrategyQA's, and ProofWriter's parts of its theory."""

_IGNORED = frozenset(name for names in IGNORED.values() for name in names)
_COLUMN = re.compile(r"\(?([A-J])[).]?|(?i:options?|choices?|opt)[ _#-]*([A-Ja-j]|[1-9]|10)")
_LABELLED = re.compile(r"\s*(?:\(?([A-Za-z])\)|([A-Za-z]|\d\d?)[.:](?=\s)|(\d\d?)\)(?=\s))\s*(.+)", re.DOTALL)
_WITH_UNIT = re.compile(r"([^()]+?)\s*\([^()]*\)")
_ONE_STEP = re.compile(r"\(?\s*(\d+(?:\.\d+)?)\s*([-+*/])\s*(\d+(?:\.\d+)?)\s*\)?(?:\s*=.*)?")
_VALUE = re.compile(r"[$€£+-]?\d[\d.,:/%-]*(?:[T ]\d[\d.:+]*Z?)?|\W*\w?\W*|true|false|yes|no|nan", re.IGNORECASE)
_TRUE_OR_FALSE = re.compile(r"\btrue\b.*\bfalse\b|\bfalse\b.*\btrue\b", re.IGNORECASE | re.DOTALL)
_ASKS_YES_OR_NO = re.compile(
    r"(?:^|[.!?,;:\n])\s*(?:am|is|are|was|were|do|does|did|can|could|would|will|shall|should|may|might|must|has|have"
    r"|had)(?:n't)?\b",
    re.IGNORECASE,
)
_YES_OR_NO = {"true": "yes", "false": "no"}
_ASKS_WHAT = re.compile(r"\s*(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)


# -- rows -----------------------------------------------------------------------------------------------------------


def has_question(names: list[str], fields: Fields | None) -> bool:
    """Return whether columns of these *names* can hold questions."""
    known = ("question", *OTHER_NAMES["question"])
    return bool(fields and "question" in fields) or any(_lower(name) in known for name in names)


def numbered_items(rows: NumberedRows, name: str, unit: str, fields: Fields | None) -> NumberedItems:
    """Yield the items of *rows* with the number of their row; messages name the source *name* and the *unit*."""
    for number, row in rows:
        for item in items_of(row, f"{name}, {unit} {number}", fields):
            yield number, item


def items_of(data: object, where: str, fields: Fields | None = None) -> Iterator[tuple[Item, Format]]:
    """Yield the items in *data*, a row of a source, each with its format; ProofWriter's rows hold several.

    Raises :class:`DatasetError` that names *where*.
    """
    if not isinstance(data, Mapping):
        yield item_of(data, where)
        return
    row = _named_row(data, fields, where) if fields else dict(data)
    for question in _questions(row):
        yield item_of(_item_row(question, where, named=fields is not None), where)


def _named_row(data: Mapping[str, Any], fields: Fields, where: str) -> dict[str, Any]:
    """Return *data* with the fields that the user names under the names of their roles."""
    used = {name for names in fields.values() for name in names}
    if missing := sorted(used - set(data)):
        raise DatasetError(f"{where}: no field {quoted(missing[0])}: it has {_listed(list(data))}")
    used -= set(fields.get("choices", ()))  # one of them may be the answer, too
    row = {name: value for name, value in data.items() if name not in used and not is_foreign(name, value)}
    for role, names in fields.items():
        if role == "context":
            row = {name: value for name, value in row.items() if _lower(name) not in CONTEXTS}
            texts = [_context(data[name], name, where) for name in names if _has_value(data[name])]
            row = {"context": "\n".join(texts)} | row
        elif len(names) > 1:
            row[role] = {"text": [data[name] for name in names], "label": list(ascii_uppercase[: len(names)])}
        else:
            row[role] = data[names[0]]
    return row


def _questions(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield *row*, or a row for each of its ``questions`` if it has a list or a dictionary of them (ProofWriter)."""
    questions = row.get("questions")
    entries = list(questions.items() if isinstance(questions, Mapping) else enumerate(questions or (), 1))
    if _key(row, "question") is not None or not all(isinstance(entry, Mapping) for _, entry in entries) or not entries:
        yield row
        return
    shared = {name: value for name, value in row.items() if name != "questions"}
    for number, entry in entries:
        if "question" not in entry and "text" in entry:  # RuleTaker
            entry = {"question": entry["text"]} | {name: value for name, value in entry.items() if name != "text"}
        id = f"{row['id']}-{number}" if _has_value(row.get("id")) else None
        yield shared | dict(entry) | {"id": id}


def _item_row(row: dict[str, Any], where: str, named: bool) -> dict[str, Any]:
    """Return *row* under the names of an item's fields, with its context in the question.

    Unless the fields are *named* by the user, a text that is in no table is refused.
    """
    keys = {role: _key(row, role) for role in OTHER_NAMES}
    item_row = {name: row[name] for name in ITEM_FIELDS if name in row}
    if _has_value(row.get("prompt")):
        item_row = {name: value for name, value in item_row.items() if not is_foreign(name, value)}
    item_row |= {role: row[key] for role, key in keys.items() if key is not None}
    columns = [] if keys["choices"] else _columns(row, item_row.get("answer"))
    if not named and not _has_value(row.get("prompt")):
        _refuse_unknown(row, {*keys.values(), *columns}, keys, where)
    if columns:
        _read_columns(item_row, [row[name] for name in columns], where)
    elif keys["choices"]:
        _read_options(item_row, row)
    if not item_row.get("choices"):
        _read_competition(item_row, row)
    contexts = [name for name in row if _lower(name) in CONTEXTS and _has_value(row[name])]
    _read_label(item_row, row, keys["answer"], bool(contexts))
    body = next((name for name in contexts if _lower(name) == "body"), None)
    if body is not None:
        _read_word_problem(item_row, row, where)
    if _has_value(row.get("prompt")):
        return item_row
    if not item_row.get("choices"):
        _read_truth(item_row, bool(contexts))
    for name in reversed(contexts):
        text, question = _context(row[name], name, where), text_of(item_row, "question", where).strip()
        if text not in question:
            comma = "," if name == body and not text.endswith((".", "?", "!", ",", ":", ";")) else ""
            item_row["question"] = f"{text}{comma}{CONTEXTS[_lower(name)]}{question}"
    return item_row | moved_parts(item_row, row.get(keys["question"] or "question"))


def _key(row: Mapping[str, Any], role: str) -> str | None:
    """Return the field of *row* that is its *role*: by this name, in any case, or by another name."""
    if _has_value(row.get(role)):
        return role
    lower = {_lower(name): name for name in reversed(list(row)) if _has_value(row[name])}
    return next((lower[name] for name in (role, *OTHER_NAMES[role]) if name in lower), None)


def _refuse_unknown(row: Mapping[str, Any], used: set[str | None], keys: Mapping[str, str | None], where: str) -> None:
    """Refuse a row with fields that hold text and stand in no table."""
    lower = {_lower(name) for name in row}
    known = {*ITEM_FIELDS, *CONTEXTS, *OTHER_NAMES["choices"], *OTHER_NAMES["answer"], *_IGNORED}
    unknown = [
        name
        for name, value in row.items()
        if name not in used
        and (key := _lower(name)) not in known
        and not key.endswith(IGNORED_ENDINGS)
        and IGNORED_BESIDE.get(key) not in lower
        and _holds_text(value)
    ]
    if unknown and keys["question"]:
        example = f"question={keys['question']},context={'+'.join(unknown)},answer={keys['answer'] or '...'}"
        raise DatasetError(
            f"{where}: {_listed(unknown)} may belong to the question: say what the fields are, --probe-dataset"
            f" NAME=FILE:{ascii(example)[1:-1][:120]} or @rp.probe(..., fields={{...}}); those not named are left out"
        )


def _holds_text(value: Any) -> bool:
    """Return whether *value* holds a text that could be asked; numbers, dates, letters and truth values are none."""
    if isinstance(value, Mapping):
        return any(map(_holds_text, value.values()))
    if isinstance(value, list):
        return any(map(_holds_text, value))
    if not isinstance(value, str) or isinstance(value, Number):
        return False
    return _VALUE.fullmatch(value.strip()) is None


def _lower(name: str) -> str:
    """Return the *name* of a field as the tables have it.

    >>> _lower("Correct Answer"), _lower("premises-FOL")
    ('correct_answer', 'premises_fol')
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _has_value(value: Any) -> bool:
    return value is not None and value != [] and not (isinstance(value, str) and not value.strip())


def _listed(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names[:6]) + (", ..." if len(names) > 6 else "")


# -- context, choices and answers -----------------------------------------------------------------------------------


def _context(value: Any, name: str, where: str) -> str:
    """Return the text of a field before the question; sentences in a list follow each other."""
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return " ".join(entry.strip() for entry in value)
    if not isinstance(value, str):
        raise DatasetError(f"{where}: {name} is {json_name(value)}: make it a text, or leave it out, {SYNTAX}")
    return text_of({name: value}, name, where, numbers=True).strip()


def _columns(row: Mapping[str, Any], answer: Any) -> list[str]:
    """Return the columns that hold a choice each: A to D or further, or ``option_a``, ``choice1`` ... (KMMLU).

    Two columns of numbers are the operands of a question unless the *answer* is the letter of one.
    """
    columns: dict[int, str] = {}
    for name in row:
        if match := _COLUMN.fullmatch(name):
            label = (match[1] or match[2]).upper()
            columns.setdefault(int(label) if label.isdigit() else ascii_uppercase.index(label) + 1, name)
    names = [columns[place] for place in range(1, len(columns) + 1) if place in columns]
    while names and not _has_value(row[names[-1]]):
        names.pop()
    operands = len(names) == 2 and answer not in ("A", "B") and not any(_holds_text(row[name]) for name in names)
    return names if len(names) > 1 and not operands else []


def _read_columns(item_row: dict[str, Any], choices: list[Any], where: str) -> None:
    """Put choices that are columns into *item_row*; a number as the answer is the column's place from 1 on."""
    labels = list(ascii_uppercase[: len(choices)])
    item_row["choices"] = {"text": choices, "label": labels}
    answer = without_zeros(str(item_row.get("answer"))).strip()
    if answer.isascii() and answer.isdigit():
        if not 1 <= int(answer[:9]) <= len(choices):
            raise DatasetError(
                f"{where}: the answer {quoted(answer)} is not one of {labels[0]} to {labels[-1]}: give its letter, or"
                " its place from 1 on"
            )
        item_row["answer"] = labels[int(answer) - 1]


def _read_options(item_row: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Part the labels of options from their texts: ``A) True`` (Logic-LLM, AQuA), or an object ``{"A": ...}``."""
    options, answer = item_row["choices"], item_row.get("answer")
    if isinstance(options, Mapping) and "text" not in options:
        options = {label: text for label, text in options.items() if _has_value(text)}
        item_row["choices"] = {"text": list(options.values()), "label": list(options)}
    if not isinstance(options, list):
        return
    if isinstance(answer, bool):
        word = "yes" if answer else "no"
        item_row["answer"] = next(
            (text for text in options if isinstance(text, str) and label_of(text) == word), answer
        )
    if options.count("N/A") > 1:  # a version of MMLU-Pro fills up its ten with them
        while options[-1:] == ["N/A"]:
            options = options[:-1]
    item_row["choices"] = options
    matches = [_LABELLED.fullmatch(option) if isinstance(option, str) else None for option in options]
    labels = [(match[1] or match[2] or match[3]).upper() for match in matches if match is not None]
    if labels in (list(ascii_uppercase[: len(options)]), [str(place) for place in range(1, len(options) + 1)]):
        if answer in options:
            item_row["answer"] = labels[options.index(answer)]
        item_row["choices"] = {"text": [match[4].strip() for match in matches if match], "label": labels}
    index = str(row.get("answer_index", ""))
    if index.isdigit() and len(index) < 3 and ascii_uppercase[int(index) : int(index) + 1] == answer:
        item_row["answer"] = Number(index)  # a letter could be the text of an option, too


def _read_word_problem(item_row: dict[str, Any], row: Mapping[str, Any], where: str) -> None:
    """Read the fields of SVAMP and ASDiv beside the body: ``Answer``, ``9 (apples)``; ``Equation``, ``7+2=9``."""
    lower = {_lower(name): value for name, value in row.items()}
    item_row["id"] = lower.get("id")
    answer = text_of(item_row, "answer", where, numbers=True).strip()
    if (match := _WITH_UNIT.fullmatch(answer)) and parse_number(match[1]) is not None:
        answer = match[1]
    item_row["answer"] = answer = without_zeros(answer)
    key = next((name for name in ("equation", "formula") if _has_value(lower.get(name))), None)
    equation = without_zeros(text_of(lower, key, where).strip()) if key else ""
    if step := _ONE_STEP.fullmatch(equation):
        item_row |= {"operands": [step[1], step[3]], "operation": step[2]}
    elif equation:
        item_row["solution"] = equation if "=" in equation else f"{equation} = {answer}"


def _read_label(item_row: dict[str, Any], row: Mapping[str, Any], key: str | None, has_context: bool) -> None:
    """Read the number of a class as what it stands for: one of ``answers`` (ReClor), or no and yes (BoolQ)."""
    label = item_row.get("answer")
    if key is None or _lower(key) != "label" or not isinstance(label, Number) or item_row.get("choices"):
        return
    answers, question = row.get("answers"), item_row.get("question")
    if isinstance(answers, list) and len(answers) > 1:
        item_row["choices"] = answers
    elif has_context and label in ("0", "1") and isinstance(question, str) and _ASKS_YES_OR_NO.search(question):
        item_row["answer"] = label == "1"


def _read_competition(item_row: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Compare the answers of MATH's rows as expressions, and take them out of the box of the solution where need be."""
    names = {_lower(name) for name in row}
    solution = item_row.get("solution")
    if not ({"problem", "solution"} <= names and "level" in names and names & {"type", "subject"}):
        return
    if isinstance(solution, str) and not _has_value(item_row.get("answer")):
        item_row["answer"] = last_boxed(solution)
    item_row.setdefault("kind", "expression")


def _read_truth(item_row: dict[str, Any], has_context: bool) -> None:
    """Write true and false as yes and no where the question wants that, and ask for the truth of a statement.

    Without a context a question must begin as those that are answered by yes or no do.
    """
    answer, question = item_row.get("answer"), item_row.get("question")
    word = str(answer).strip().lower() if isinstance(answer, bool | str) else ""
    if not isinstance(question, str) or word not in ("true", "false", "unknown", "uncertain"):
        return
    if _TRUE_OR_FALSE.search(question):
        item_row["answer"] = str(answer)
    elif has_context and question.strip().endswith(".") and "?" not in question:
        item_row["question"] = f"Is the following statement true, false or unknown? {question.strip()}"
        item_row["answer"] = "Unknown" if word == "uncertain" else str(answer).strip().capitalize()
    elif word in _YES_OR_NO and (_ASKS_YES_OR_NO.search(question) or (has_context and not _ASKS_WHAT.match(question))):
        item_row["answer"] = _YES_OR_NO[word]
        if has_context and question.strip()[-1:].isalnum():  # BoolQ's questions have no question mark
            item_row["question"] = f"{question.strip()}?"
