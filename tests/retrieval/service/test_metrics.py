from __future__ import annotations

from retrieval.service.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.text().decode().splitlines()


def test_indexes_are_described_by_their_recall_and_an_exact_scan_has_recall_1() -> None:
    metrics = Metrics()
    graph = {"modality": "image", "kind": "hnsw", "ef_search": 96, "recall_at_10": 0.97}
    scan = {"modality": "text", "kind": "exact", "ef_search": None, "recall_at_10": None}
    metrics.describe(1_000, 7, [graph, scan])
    assert 'clipmine_recall_at_10{modality="image"} 0.97' in lines(metrics)
    assert 'clipmine_ef_search{modality="image"} 96.0' in lines(metrics)
    assert 'clipmine_recall_at_10{modality="text"} 1.0' in lines(metrics)
    assert "clipmine_rows 1000.0" in lines(metrics)
    assert "clipmine_forgotten_rows 7.0" in lines(metrics)


def test_stages_and_batches_are_counted() -> None:
    metrics = Metrics()
    with metrics.stage("search"):
        metrics.observe_batch("encode_texts", 3, 12)
    assert 'clipmine_stage_seconds_count{stage="search"} 1.0' in lines(metrics)
    assert 'clipmine_batch_size_sum{stage="encode_texts"} 12.0' in lines(metrics)


def test_two_apps_in_a_process_do_not_share_counts() -> None:
    first, second = Metrics(), Metrics()
    first.partial.inc()
    assert "clipmine_partial_answers_total 1.0" in lines(first)
    assert "clipmine_partial_answers_total 0.0" in lines(second)
