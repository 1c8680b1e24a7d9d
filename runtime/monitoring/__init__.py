"""How the daemon reports its own state: status socket, device topics, metrics, watchdog, temperature."""
