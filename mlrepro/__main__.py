"""Main: `python -m mlrepro`."""

from mlrepro.cli import entry

if __name__ == "__main__":
    entry()
