"""The door ``python -m harness.check_methods``."""

from harness.proof.check_methods import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
