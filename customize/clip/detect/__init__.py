"""Open-vocabulary detection: a detector with a CLIP ResNet as trunk and box head, and class names as classifier."""
