"""Arguments read from their text: the form of inference, and which word plays which part in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from reasoning_probe.data.generators import logic, logic_chains
from reasoning_probe.data.readers.reading import Reading, Spans
from reasoning_probe.data.readers.sentences import Argument, ArgumentForm, Sentence, SentenceSpans, read_sentences

_STEPS = range(1, 9)
_MOST_PREMISES = 40
_MOST_TRIES = 2_000  # to match premises; the generators' arguments take a few hundred at most


def read_argument(question: str) -> Reading | None:
    """Return what is read from *question*, ``None`` if it is no argument in the words of the generators."""
    sentences, spans = read_sentences(question)
    if not 2 <= len(sentences) <= _MOST_PREMISES + 1 or not sentences[-1].kind.endswith("?"):
        return None
    if any(sentence.kind.endswith("?") for sentence in sentences[:-1]):
        return None
    premises = sentences[:-1]
    tags = {
        "premises": str(len(premises)),
        "claim": {"is?": "membership", "than?": "comparison"}.get(sentences[-1].kind, sentences[-1].kind.rstrip("?")),
    }
    kinds = [premise.kind for premise in premises]
    tags["negations"] = str(sum(kind in ("no", "is not") for kind in kinds))
    tags["some"] = str(kinds.count("some"))
    argument = argument_of(sentences)
    if argument is not None:
        order = [place for place in argument.order if place is not None]
        tags |= {
            "inference": argument.form.name,
            "steps": str(argument.form.steps),
            "distractors": str(argument.order.count(None)),
            "order": "sorted" if order == sorted(order) else "shuffled",
        }
    return Reading(tags, _parts(sentences, spans, argument), argument=argument)


def argument_of(sentences: Sequence[Sentence]) -> Argument | None:
    """Return the argument of *sentences*, the last of which is the question; ``None`` if its form is not known."""
    premises, question = sentences[:-1], sentences[-1]
    tries = iter(range(_MOST_TRIES))
    counts = Counter(premise.kind for premise in premises)
    for form in _forms():
        if form.question.kind == question.kind and form.kinds <= counts:
            if len(form.premises) < len(premises) and form.group[0] == "plain":
                continue  # the plain generator writes no irrelevant premises
            words = _bound({}, form.question, question)
            match = _matched(form.premises, premises, words, tries) if words is not None else None
            if match is not None:
                places = {place: number for number, place in match[1].items()}
                order = tuple(places.get(place) for place in range(len(premises)))
                return Argument(tuple(sentences), form, match[0], order)
    return None


@cache
def _forms() -> tuple[ArgumentForm, ...]:
    """Return the forms of both generators, those that a question must match first before the others."""
    chains = (form for steps in reversed(_STEPS) for form in _chain_forms(steps))
    return (*_plain_forms(), *chains)


def _plain_forms() -> Iterator[ArgumentForm]:
    nouns, names = ("poet", "singer", "baker"), ("Max", "Mia", "Leo")
    words = dict(zip("NMP", names, strict=True)) | {"more": "taller"}
    for letter, noun in zip("ABC", nouns, strict=True):
        words |= {f"{letter}s": logic.plural(noun), letter.lower(): logic.with_article(noun)}
    for number, skeleton in enumerate(logic.SKELETONS):
        for form in skeleton.forms:
            text = " ".join((*form.premises, form.question)).format_map(words)
            yield _abstract(form.name, form.answer, text, ("plain", number))


def _chain_forms(steps: int) -> Iterator[ArgumentForm]:
    cast = logic_chains.Cast(
        logic_chains.NOUNS[: steps + 1], logic.PEOPLE[-1], logic.PEOPLE[: steps + 1], logic.COMPARATIVES[0]
    )
    for number, skeleton in enumerate(logic_chains.SKELETONS):
        for form in skeleton.forms:
            if form.least <= steps:
                premises, question = form.argument(cast)
                yield _abstract(form.name, form.answer, " ".join((*premises, question)), ("chain", number, steps))


def _abstract(name: str, answer: str, text: str, group: tuple[str | int, ...]) -> ArgumentForm:
    (*premises, question), _ = read_sentences(text)
    steps = sum(premise.kind not in ("is", "is not") for premise in premises)
    return ArgumentForm(name, answer, tuple(premises), question, steps, group)


def _bound(words: Mapping[str, str], pattern: Sentence, sentence: Sentence) -> dict[str, str] | None:
    """Return *words*, by their roles, with those of *sentence* in the roles of *pattern*; ``None`` if they disagree."""
    if pattern.kind != sentence.kind:
        return None
    bound = dict(words)
    roles = [(pattern.first, sentence.first), (pattern.second, sentence.second)]
    for role, word in [*roles, *([(pattern.more, sentence.more)] if pattern.more else [])]:
        if bound.setdefault(role, word) != word:
            return None
    return bound if len(set(bound.values())) == len(bound) else None


def _matched(
    patterns: Sequence[Sentence], premises: Sequence[Sentence], words: dict[str, str], tries: Iterator[int]
) -> tuple[dict[str, str], dict[int, int]] | None:
    """Return the words of all roles, and for each pattern the place of its premise; ``None`` if one has none.

    The roles that *words* does not hold yet are those of patterns that share a role with one that it holds. The search
    ends when *tries* does: text that no generator wrote may have any number of matches to look at.
    """
    search = [(words, dict[int, int]())]
    for _ in tries:
        if not search:
            return None
        words, places = search.pop()
        left = [number for number in range(len(patterns)) if number not in places]
        if not left:
            return words, places
        number = max(left, key=lambda number: len({patterns[number].first, patterns[number].second} & set(words)))
        for place, premise in enumerate(premises):
            if place not in places.values() and (bound := _bound(words, patterns[number], premise)) is not None:
                search.append((bound, places | {number: place}))
    return None


def forms_like(form: ArgumentForm) -> tuple[ArgumentForm, ...]:
    """Return the forms whose questions differ from those of *form* in nouns and names alone, itself among them."""
    return tuple(other for other in _forms() if other.group == form.group)


def _parts(
    sentences: Sequence[Sentence], spans: Sequence[SentenceSpans], argument: Argument | None
) -> dict[str, Spans]:
    """Return the parts of an argument: names, classes, quantifiers, negations, comparatives, premises and claim."""
    parts: dict[str, list[tuple[int, int]]] = {name: [] for name in ("names", "classes")}
    for sentence, places in zip(sentences, spans, strict=True):
        for word, is_name in zip(("first", "second"), sentence.about_names, strict=True):
            parts["names" if is_name else "classes"].append(places.words[word])
        for word, part in (("quantifier", "quantifiers"), ("negation", "negation"), ("more", "comparative")):
            if word in places.words:
                parts.setdefault(part, []).append(places.words[word])
    parts["premises"] = [places.whole for places in spans[:-1]]
    parts["claim"] = [spans[-1].whole]
    if argument is not None:
        unused = zip(argument.order, spans, strict=False)
        parts["distractors"] = [places.whole for number, places in unused if number is None]
    return {name: tuple(places) for name, places in parts.items() if places}
