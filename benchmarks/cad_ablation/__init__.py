"""CaD-VI's ablations on drawn scenes."""
