from reasoning_probe.outcome import *  # moved; this shim goes away at integration
from reasoning_probe.outcome import BASELINE, Outcome
