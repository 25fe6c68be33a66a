"""Sessions that patch heads, or switch them off at one place alone: what terminal, page and files say."""

from __future__ import annotations

from tests.helpers.known_circuits import DECIDER, donated, save_circuit
from tests.helpers.project import Project


def test_a_session_says_which_heads_carry_the_answer(project: Project) -> None:
    items = donated(40)
    options = save_circuit(project, of=items)
    result = project.run(*options, "--ablation=patch,patch-same", page=True)
    summary = project.summary()
    rows = {row["target"]: row for row in summary["patching"]}
    left_out = {skip["reason"] for skip in summary["skipped"]}
    assert left_out == {f"its {donor} is that of an earlier item" for donor in ("counterfactual", "same-answer twin")}
    assert len(summary["skipped"]) + summary["datasets"]["arithmetic"]["items"] == len(items)
    assert rows[DECIDER]["became"] > 0.9 * rows[DECIDER]["items"] > 7
    sentence = f"Patching {DECIDER} on arithmetic makes the answer the other question's on {rows[DECIDER]['became']} of"
    assert sentence in " ".join(" ".join(result.outlines).split())
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert f"Patching {DECIDER} on arithmetic makes the answer the other question" in page
    assert "Answers that became the other question" in page  # the map
    assert "became the other answer (control)" in page  # the ranking
    assert "the log-probability or patching with a chance of at most" in page
    assert f"Skipped {len(summary['skipped'])} items: its same-answer twin is" in " ".join(result.outlines)


def test_where_and_ablation_have_ini_twins_and_are_named(project: Project) -> None:
    options = save_circuit(project, of=donated(30)[:6])
    project.write("pytest.ini", "[pytest]\nprobe_where = last\nprobe_ablation = patch\n")
    result = project.run(*options, page=True)
    summary = project.summary()
    assert (summary["where"], summary["ablation"], summary["control"]) == ("last", "patch", None)
    assert "Heads were off only at the prompt's last token (--probe-where last)." in " ".join(
        " ".join(result.outlines).split()
    )
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "patch ablation at the prompt" in page
    assert "patching with a chance" not in page, "without the control nothing is tested"


def test_restore_asks_the_other_questions(project: Project) -> None:
    items = donated(30)[:6]
    options = [option for option in save_circuit(project, of=items) if option != "--ablate-heads"]
    project.run(*options, f"--probe-heads={DECIDER}", "--ablation=restore", "-q")
    by_id = {item.id: item for item in items}
    for outcome in project.outcomes():
        counterfactual = by_id[outcome["item"]].counterfactual
        assert counterfactual is not None
        assert (outcome["question"], outcome["expected"]) == (counterfactual.question, counterfactual.answer)
        if outcome["target"] == DECIDER and outcome["became_counterfactual"]:
            assert outcome["answer"] == by_id[outcome["item"]].answer
    assert any(outcome["became_counterfactual"] for outcome in project.outcomes())
