"""`python -m semivl_cli`: the program without its script."""

from semivl_cli.cli import main

if __name__ == "__main__":
    main()
