"""`patchword presets`: the models that can be built by name."""

from __future__ import annotations

import typer


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("presets")(presets)


def presets() -> None:
    """The models that can be built by name, with their sizes."""
    from rich.console import Console
    from rich.table import Table

    from patchword.models.config import ImageConfig
    from patchword.models.family import Model
    from patchword.models.family import presets as all_presets
    from patchword.nn.meta import shapes_only
    from patchword.tasks.task import tasks

    table = Table(caption="parameters: with the head that it is pretrained with; images in 1,000 classes")
    for name in ("preset", "reads", "pretrained by", "width", "depth", "heads", "parameters"):
        numbers = name in ("width", "depth", "heads", "parameters")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for name, (family, config) in all_presets().items():
        way_out = tasks()[family.objective].way_out
        with shapes_only():
            count = Model(family, config, way_out, _CLASSES if way_out == "class" else ()).num_parameters
        size = f"s, {config.image_size[0]} px" if isinstance(config, ImageConfig) else ""
        table.add_row(
            name,
            family.modality + size,
            family.objective,
            str(config.width),
            str(getattr(config, "depth", "")),
            str(getattr(config, "heads", "")),
            f"{count / 1e6:,.1f} M",
        )
    console = Console()
    # Names are to be copied: where nobody looks at a screen's width, none is folded.
    (console if console.is_terminal else Console(width=120)).print(table)


_CLASSES = tuple(map(str, range(1000)))
