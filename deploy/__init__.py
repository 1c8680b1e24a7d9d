"""What brings Vedette onto boxes and keeps it current there: set-up, provisioning, packages, images."""
