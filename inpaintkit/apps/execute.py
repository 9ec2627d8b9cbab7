"""Runs one notebook in a process of its own: python -m inpaintkit.apps.execute JSON, with papermill's arguments.

The kernel encrypts what it sends, if it can: newer kernels warn when it is not. Papermill's command line has no option
for that.
"""

import json
import sys

import papermill
from traitlets.config import Config

if __name__ == "__main__":
    encrypted = Config({"KernelManager": {"transport_encryption": "auto"}})
    papermill.execute_notebook(**json.loads(sys.argv[1]), config=encrypted)
