"""How a model shrinks. A technique is the dataclass of its settings, and a call makes a new model from an old one."""
