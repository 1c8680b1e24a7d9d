"""`vedette fleet`: the boxes at a broker, and releases that are rolled out to them in rings."""
