"""A query: an item as it is sent to the model, with its prompt and with the settings of the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reasoning_probe.data.items import Arm, Item
from reasoning_probe.data.prompts.prompting import PLAIN, QUESTION, Generation
from reasoning_probe.data.prompts.sampling import Draw


@dataclass(frozen=True)
class Thought:
    """What a model thought before it answers: the ``text`` with its opening mark, and the mark that closes it.

    ``cut`` says that the limit of tokens ended it, not the model.
    """

    text: str
    closing: str
    cut: bool = False


@dataclass(frozen=True)
class Query:
    """An item as it is sent to the model.

    ``answer_prefix`` stands between the prompt and the expected answer whose log-probability is measured.
    ``special_tokens`` says whether the tokenizer adds its own to the prompt; a chat template has written them already.
    ``question_start`` is the place of the item's question in the prompt, in characters; ``None`` where it is not known,
    as in a prompt of the user's that words it differently. ``donors`` are the prompts of the item's donors whose
    activations are patched into this one, by arm; they have as many tokens, each in the place of this prompt's.
    ``draw`` is the sample that answers it; ``None`` decodes greedily. ``thought`` is the last part of the prompt, which
    the model wrote; ``None`` where there is none.
    """

    dataset: str
    item: Item
    prompt: str
    generation: Generation
    answer_prefix: str = " "
    special_tokens: bool = True
    question_start: int | None = None
    donors: tuple[tuple[Arm, str], ...] = ()
    draw: Draw | None = None
    thought: Thought | None = None

    @property
    def thought_start(self) -> int | None:
        """The place of the thought in the prompt, in characters; ``None`` where there is none."""
        return None if self.thought is None else len(self.prompt) - len(_closed(self.thought))

    def after(self, thought: Thought) -> Query:
        """Return the query whose answer follows *thought*."""
        return replace(self, prompt=self.prompt + _closed(thought), thought=thought)

    @property
    def continuation(self) -> str:
        """The expected answer as it would continue the prompt."""
        return self.answer_prefix + self.item.answer

    @property
    def item_id(self) -> str:
        """The item's id, which every item of a dataset and of ``sweep`` has."""
        assert self.item.id is not None
        return self.item.id


def _closed(thought: Thought) -> str:
    """Return a thought as it stands in the prompt."""
    return f"{thought.text}{thought.closing}\n\n"


def query(dataset: str, item: Item, generation: Generation) -> Query:
    """Return *item* in the plain prompt."""
    start = PLAIN.index(QUESTION)
    return Query(dataset, item, PLAIN.format(question=item.question), generation, question_start=start)
