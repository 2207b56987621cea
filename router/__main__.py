"""`python -m router` is `routerd`."""

from router.cli.main import main

if __name__ == "__main__":
    main()
