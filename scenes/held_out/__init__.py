"""Held-out scenes as evaluation tasks, of CLIP models (`clip_tasks`) and of multimodal models."""

from __future__ import annotations

from scenes.held_out.clip_tasks import TASKS, default_types, main, single_objects, type_samples, write_tasks

__all__ = ["TASKS", "default_types", "main", "single_objects", "type_samples", "write_tasks"]
