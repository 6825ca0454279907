"""``python -m edgedistill`` is ``edgedistill``."""

from edgedistill.cli import main

if __name__ == "__main__":
    main()
