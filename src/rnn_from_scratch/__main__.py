"""``python -m rnn_from_scratch`` is the command ``rnn-from-scratch``."""

import sys

from rnn_from_scratch.cli import main

if __name__ == "__main__":
    sys.exit(main())
