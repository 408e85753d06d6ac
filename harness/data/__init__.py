"""From a raw archive to what a training reads: decoded arrays, splits, augmentation."""
