"""One Transformer for patches and words: pretrain once, fine-tune many times.

import patchword as pw

pw.pretrain("notes/", model="bert-mini", minutes=10, out="runs/base")
pw.finetune("runs/base", "tickets.csv", out="runs/tickets")
pw.load("runs/tickets").predict(["The invoice is wrong again."])
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Threads that wait for each other spin a moment, then sleep. By default they spin for milliseconds, and beside any
# other process on the same cores a small model's step then takes ten times as long; not spinning at all costs a fifth
# of the speed on a machine of one's own. Both settings here count only if torch is not imported yet.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Batches without padding come in many sizes, and oneDNN keeps code and buffers for every size it has met: by default
# for 1,024 products, gigabytes in a long run. A step needs few of them.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

if TYPE_CHECKING:
    from patchword.errors import UserError
    from patchword.explain.size import Size, explain
    from patchword.models.family import presets
    from patchword.study.sweep import Sweep, sweep
    from patchword.tasks.checking import check
    from patchword.tasks.export import Exported, export
    from patchword.tasks.predictor import Predictor, evaluate, load
    from patchword.training.stages import Result, finetune, pretrain, resume

# torch takes two seconds to import; nothing that does not need it should wait for it.
_WHERE = {
    "UserError": "patchword.errors",
    "Size": "patchword.explain.size",
    "explain": "patchword.explain.size",
    "presets": "patchword.models.family",
    "Sweep": "patchword.study.sweep",
    "sweep": "patchword.study.sweep",
    "check": "patchword.tasks.checking",
    "Exported": "patchword.tasks.export",
    "export": "patchword.tasks.export",
    "Predictor": "patchword.tasks.predictor",
    "evaluate": "patchword.tasks.predictor",
    "load": "patchword.tasks.predictor",
    "Result": "patchword.training.stages",
    "finetune": "patchword.training.stages",
    "pretrain": "patchword.training.stages",
    "resume": "patchword.training.stages",
}
__all__ = [
    "Exported",
    "Predictor",
    "Result",
    "Size",
    "Sweep",
    "UserError",
    "__version__",
    "check",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "load",
    "presets",
    "pretrain",
    "resume",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'patchword' has no attribute '{name}'")
