"""Live data of a camera for viewers on this machine: frames, scores, and what another threshold would have done."""
