"""What a model does with an input, seen from outside: nothing in the model knows of it."""

from __future__ import annotations

import sys
import types
from typing import Any


class _Package(types.ModuleType):
    """`pw.explain(...)` is a function of the public API, and this package has its name: whichever was imported first,
    a call is the function's."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from patchword.explain.size import explain

        return explain(*args, **options)


sys.modules[__name__].__class__ = _Package
