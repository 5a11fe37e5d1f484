"""The summary of a run as a line."""

from __future__ import annotations

from customize.lmm.train.summary import SourceSummary, TuneSummary


def test_it_shows_in_a_line() -> None:
    summary = TuneSummary(
        out="out",
        stage="cad",
        train="lora",
        sources={"pairs": SourceSummary(1300, 1250, {"no answer": 50}, 1250, 0)},
        taken=1250,
        unreadable=0,
        trained=1250,
        named=(),
        trainable={"projector": 1},
        steps=10,
        batch_size=128,
        workers=1,
        first_loss=2.0,
        last_loss=1.25,
        loss_by_source={"pairs": 1.25},
        images="cached features",
        seconds=1.0,
        samples_per_second=1.0,
        tokens_per_second=1.0,
        exported={},
    )
    assert repr(summary) == "TuneSummary('out', cad, 1,250 samples, 10 steps, loss 2.0000 -> 1.2500)"
