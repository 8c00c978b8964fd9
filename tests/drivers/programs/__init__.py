"""The programs. Those in Python run in interpreters of their own."""
