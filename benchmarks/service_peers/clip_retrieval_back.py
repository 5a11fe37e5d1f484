"""Starts clip-retrieval's own back end in its environment; run by `benchmarks.service_peers`, not by hand.

Run as: PEER_PYTHON clip_retrieval_back.py FOLDER PORT

The package runs unchanged except for its model: `all_clip.load_clip` downloads one, so it is replaced by open_clip's
ViT-B-32 with the weights of FOLDER/weights.safetensors.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    import open_clip
    from safetensors.torch import load_file

    folder, port = Path(sys.argv[1]), int(sys.argv[2])

    def load_clip(*_: object, **__: object) -> tuple[object, object, object]:
        model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
        model.load_state_dict(load_file(str(folder / "weights.safetensors")))
        return model.eval(), preprocess, open_clip.get_tokenizer("ViT-B-32")

    # Imported by name: type checkers run in an environment without these packages.
    importlib.import_module("all_clip").load_clip = load_clip  # type: ignore[attr-defined]
    clip_back = importlib.import_module("clip_retrieval.clip_back").clip_back

    paths = folder / "indices_paths.json"
    paths.write_text(json.dumps({"peer": str(folder / "index")}))
    clip_back(
        indices_paths=str(paths),
        port=port,
        enable_hdf5=False,
        enable_faiss_memory_mapping=True,
        columns_to_return=["url", "caption", "key"],
        enable_mclip_option=False,
        use_jit=False,
        provide_safety_model=False,
        provide_violence_detector=False,
        provide_aesthetic_embeddings=False,
    )


if __name__ == "__main__":
    main()
