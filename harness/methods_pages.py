"""The door ``python -m harness.methods_pages``."""

from harness.proof.methods_pages import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
