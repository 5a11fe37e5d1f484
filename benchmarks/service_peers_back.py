"""Starts the real clip-retrieval back in its own environment; run by `service_peers.py`, not by hand.

Run as: PEER_PYTHON service_peers_back.py FOLDER PORT

Nothing of the package is changed but where its model comes from: `all_clip.load_clip` downloads, so it is replaced by
open_clip's ViT-B-32 with the weights of FOLDER/weights.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    import all_clip
    import open_clip
    from safetensors.torch import load_file

    folder, port = Path(sys.argv[1]), int(sys.argv[2])

    def load_clip(*_: object, **__: object) -> tuple[object, object, object]:
        model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
        model.load_state_dict(load_file(str(folder / "weights.safetensors")))
        return model.eval(), preprocess, open_clip.get_tokenizer("ViT-B-32")

    all_clip.load_clip = load_clip
    from clip_retrieval.clip_back import clip_back

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
