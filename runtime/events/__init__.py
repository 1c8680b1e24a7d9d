"""Events: their format, the durable outbox, the forwarder and the sinks that deliver them."""
