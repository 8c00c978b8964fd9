"""``python -m tsdb``: the same as the command ``tsdb``."""

from tsdb.cli import main

if __name__ == "__main__":
    main()
