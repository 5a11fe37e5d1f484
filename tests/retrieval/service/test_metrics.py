from __future__ import annotations

from retrieval.service.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.text().decode().splitlines()


def test_indexes_are_described_by_their_recall_and_an_exact_scan_has_recall_1() -> None:
    metrics = Metrics()
    graph = {"modality": "image", "kind": "hnsw", "ef_search": 96, "recall_at_10": 0.97, "indexed": 900}
    graph |= {"least_recall_at_10": 0.91, "forgotten_since_recall": 12}
    scan = {"modality": "text", "kind": "exact", "ef_search": None, "recall_at_10": None, "indexed": None}
    metrics.describe("shapes", "12ab", 1_000, 7, [graph, scan])
    assert 'clipmine_recall_at_10{modality="image",store="shapes"} 0.97' in lines(metrics)
    assert 'clipmine_least_recall_at_10{modality="image",store="shapes"} 0.91' in lines(metrics)
    assert 'clipmine_forgotten_since_recall{modality="image",store="shapes"} 12.0' in lines(metrics)
    assert 'clipmine_forgotten_since_recall{modality="text",store="shapes"} 0.0' in lines(metrics)
    assert 'clipmine_ef_search{modality="image",store="shapes"} 96.0' in lines(metrics)
    assert 'clipmine_recall_at_10{modality="text",store="shapes"} 1.0' in lines(metrics)
    assert 'clipmine_rows{store="shapes"} 1000.0' in lines(metrics)
    assert 'clipmine_indexed_rows{modality="image",store="shapes"} 900.0' in lines(metrics)
    assert 'clipmine_forgotten_rows{store="shapes"} 7.0' in lines(metrics)


def test_only_the_generation_that_is_served_is_shown() -> None:
    metrics = Metrics()
    for generation in ("old", "new"):
        metrics.forget_stores()
        metrics.describe("shapes", generation, 3, 0, [])
    shown = [line for line in lines(metrics) if line.startswith("clipmine_generation{")]
    assert shown == ['clipmine_generation{generation="new",store="shapes"} 1.0']


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
