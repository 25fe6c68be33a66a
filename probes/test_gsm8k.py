import reasoning_probe as rp


@rp.probe("gsm8k")
def test_gsm8k(answer: rp.Outcome) -> None:
    assert answer.correct
