"""Mining strategies on drawn scenes, whose true commonalities and differences are known."""
