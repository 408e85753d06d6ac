"""The door ``python -m harness.methods_pages``."""

from harness.proof.methods_pages import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
