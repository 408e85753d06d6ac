"""The door ``python -m harness.spec --schema``."""

from harness.studies.schema import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
