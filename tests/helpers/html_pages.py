"""Pages read strictly, and a run in which everything that others wrote is hostile."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, outcome

VOID = {"meta", "br", "img", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></title></svg></pre></details>",
    "<!-- never closed",
    "\" onmouseover='alert(1)' x=\"",
    "<img src=x onerror=alert(1)>",
    "nul \x00 bell \x07 escape \x1b[31m c1 \x9b turn \u202e lone \ud800",
    "$x^2$ \\frac{1}{0} & &amp; ]]>",
]


class Page(HTMLParser):
    """Reads a page strictly: every element closed by its own end tag."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.headings: list[int] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data.replace("\xa0", " ")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:50]}")


def hostile_run() -> Run:
    outcomes = []
    for index, evil in enumerate(HOSTILE):
        values = dict.fromkeys(("question", "prompt", "response", "expected", "answer"), evil)
        outcomes.append(outcome(evil, f"{evil}{index}", **values))
        off = dict.fromkeys(("response", "answer", "category", "kind", "reason"), evil + " off")
        outcomes.append(outcome(evil, f"{evil}{index}", "L0H0", correct=False, ablation=evil, **{**values, **off}))
        outcomes.append(outcome(evil, f"{evil}{index}", evil, correct=False, **off))
    model = {"name": HOSTILE[0], "architecture": HOSTILE[1], "layers": 1, "heads": 1, "dtype": HOSTILE[2]}
    evil = " ".join(HOSTILE)
    return as_run(
        outcomes,
        model=model,
        ablation=evil,
        versions={evil: evil},
        generation={evil: {"stop": [evil]}},
        skipped=[{"dataset": evil, "item": evil, "reason": evil}],
    )


HOSTILE_RUN = hostile_run()
