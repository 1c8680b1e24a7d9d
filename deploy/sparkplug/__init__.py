"""`vedette sparkplug`: cameras as devices of a Sparkplug B edge node, for SCADA systems."""
