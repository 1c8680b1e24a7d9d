"""The device's page: live picture, events and health in a browser. A process of its own that only reads."""
