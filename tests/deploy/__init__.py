"""The files of deploy/: the unit for systemd, the compose file and its image."""
