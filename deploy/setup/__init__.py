"""Set-up of a box: answers become configuration files, cameras are found and tried, services are enabled."""
