"""`patchword presets`: the models that can be built by name."""

from __future__ import annotations

import typer


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("presets")(presets)


def presets() -> None:
    """The models that can be built by name, with their sizes."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from patchword.models.config import ImageConfig
    from patchword.models.family import Model
    from patchword.models.family import presets as all_presets

    table = Table()
    for name in ("preset", "reads", "width", "depth", "heads", "parameters"):
        table.add_column(name, justify="right" if name in ("width", "depth", "heads", "parameters") else "left")
    for name, (family, config) in all_presets().items():
        with torch.device("meta"):
            count = sum(p.numel() for p in Model(family, config, "features").trunk.parameters())
        size = f"s of {config.image_size[0]} px" if isinstance(config, ImageConfig) else ""
        table.add_row(
            name,
            family.modality + size,
            str(config.width),
            str(getattr(config, "depth", "")),
            str(getattr(config, "heads", "")),
            f"{count / 1e6:,.1f} M",
        )
    Console().print(table)
