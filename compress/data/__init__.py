"""Images and videos: splits without leakage, groups, augmentation, synthetic defects, cached features, audit."""
