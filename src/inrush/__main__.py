"""`python -m inrush` is the `inrush` command; this is how a client starts a local server in the background."""

from inrush.cli import main

if __name__ == "__main__":
    main()
