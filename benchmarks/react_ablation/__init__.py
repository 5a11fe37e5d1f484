"""The ablations of the REACT thesis, repeated on drawn scenes."""
