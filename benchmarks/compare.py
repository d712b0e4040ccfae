"""What has changed between two runs of the benchmark, beyond the noise.

python benchmarks/compare.py OLD.json NEW.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from rnn_from_scratch.benchmark.compare import compare_files

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(compare_files(Path(sys.argv[1]), Path(sys.argv[2])))
