"""The verbs that set boxes up and provision them, one file per verb."""
