"""From sampled turns to micro-batches: training samples, prefix trees, packing, demonstrations."""
