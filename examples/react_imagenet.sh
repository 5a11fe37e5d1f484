#!/bin/sh
# The thesis's ImageNet recipe: from the embeddings of LAION-400M and from ImageNet to a customized ViT-B-32 and its
# zero-shot accuracy. Every stage continues where it was stopped, so run the script again after an interruption.
#
#     sh examples/react_imagenet.sh LAION_DIR IMAGENET_DIR OUT [BATCH]
#
# LAION_DIR:    img_emb/, text_emb/ and metadata/ of LAION-400M (ViT-B/32), as LAION published them
# IMAGENET_DIR: ImageNet-1K; val/ has one folder for each class
# BATCH:        pairs of a step on all GPUs together (thesis: 4096)
set -eu
laion=$1 imagenet=$2 out=$3 batch=${4:-4096}
mkdir -p "$out"

test -f "$laion/manifest.json" || clipmine adopt "$laion" --model ViT-B-32 --pretrained openai
clipmine index "$laion" --modality both --memory 64GB --executor ray
clipmine evaluate --task imagenet-1k --concepts "$out/imagenet.yaml"
# 1,000 classes x 80 templates, K = 200 by captions and by images: about 10 million distinct pairs.
clipmine retrieve "$laion" --concepts "$out/imagenet.yaml" --mode both -k 200 --out "$out/selection"
clipmine fetch "$out/selection" --out "$out/images" --image-size 256 --workers 16 --threads 128
# 32 epochs, AdamW 0.9/0.98, lr 5e-4, decay 0.1, 5,000 steps of warm-up, gamma 0.9, the released augmentation.
clipmine customize "$laion" --tars "$out/images/tars" --model ViT-B-32 --pretrained openai \
    --strategy locked-text-gated-image --epochs 32 --batch-size "$batch" --lr 5e-4 --warmup 5000 --gamma 0.9 \
    --augment released --executor ray --out "$out/model"
clipmine evaluate ViT-B-32:openai "$out/model" --task imagenet-1k --data "$imagenet" --out "$out/evaluation"
