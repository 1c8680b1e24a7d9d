"""The device: frames in, events out.

Read `daemon.py` first; it is the product in one page. What it plugs together lies in the folders beside it: sources,
backends, heads, rules and sinks. Nothing here imports the workshop (`vedette.compress`), so a device never needs torch.
"""
