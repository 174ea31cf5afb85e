import subprocess
import sys

_PROGRAM = """
import threading
import time
from tdncalc.daemons import awaited

inside = threading.Event()

@awaited
def compute():
    inside.set()
    time.sleep(0.3)
    print("left", flush=True)

def run():
    while True:
        compute()

threading.Thread(target=run, daemon=True).start()
inside.wait()
print("end", flush=True)
"""


def test_the_end_of_a_process_waits_once_for_a_daemon_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "end\nleft\n"
