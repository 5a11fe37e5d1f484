from __future__ import annotations

import os
import subprocess
import sys

from index.cores import usable_cores


def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    program = (
        f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); "
        "from index.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert usable_cores() == len(os.sched_getaffinity(0))
