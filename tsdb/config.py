"""Settings: one table that feeds the file, the environment and the flags (see tsdb.config.Settings)."""
