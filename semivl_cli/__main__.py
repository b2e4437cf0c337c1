"""`python -m semivl_cli`: the program without its script."""

import os
import sys

if __name__ == "__main__":
    # With -m Python looks for modules in the working directory first: a queue.py that lies there is the user's.
    found = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - os alone is loaded
    try:
        here = os.getcwd()  # noqa: PTH109 - likewise
    except OSError:  # it is gone, and nothing lies in it: main says so
        here = found
    if not getattr(sys.flags, "safe_path", False) and sys.path[0] == here != found:
        del sys.path[0]
    from semivl_cli.cli import main

    main()
