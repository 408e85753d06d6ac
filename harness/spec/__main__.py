"""The door ``python -m harness.spec --schema``."""

from harness.studies.schema import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
