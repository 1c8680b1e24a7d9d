"""From a table of boxes to cards: certificates, seeds, first-boot data, the broker's files, labels, and who came up."""
