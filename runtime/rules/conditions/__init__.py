"""Where and when a rule applies: regions, schedules, labels, debouncing."""
