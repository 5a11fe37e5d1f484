"""Open-vocabulary detection on the scenes: detectors from a small ResNet CLIP and from its customized version."""
