"""Networks: the backbone, the classifier head, anomaly models, and the design that describes an anomaly model."""
