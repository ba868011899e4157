"""objstore dispersion: things spread over the partitions, to see whether their copies are where they should be."""
