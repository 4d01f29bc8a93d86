"""Engines: messages in, text out; tokens in, log-probabilities out.

Importing this package tells the Hugging Face libraries, which read these settings when they are
first imported, to keep their own progress bars off the terminal and to send no telemetry.
"""

import os

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
