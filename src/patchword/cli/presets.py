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
    for name in ("preset", "reads", "width", "depth", "heads", "parameters", "pretrains by"):
        table.add_column(name, justify="right" if name in ("width", "depth", "heads", "parameters") else "left")
    for name, (family, config) in all_presets().items():
        with torch.device("meta"):
            count = sum(p.numel() for p in Model(family, config, "features").trunk.parameters())
        size = f", {config.image_size[0]} px in patches of {config.patch_size}" if isinstance(config, ImageConfig) else ""
        how = "masked words" if "masked_token" in family.ways_out else "image classes"
        table.add_row(
            name, family.modality + size, str(config.width), str(config.depth), str(config.heads), f"{count / 1e6:,.1f} M", how
        )
    Console().print(table)
