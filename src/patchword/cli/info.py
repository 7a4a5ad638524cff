"""`patchword info`: what a model folder holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("info")(info)


def info(folder: Annotated[str, typer.Argument(help="A model folder, a run, or a hub name.")]) -> None:
    """What a model folder holds: sizes, labels, scores, where it came from."""
    from patchword.models.card import read_card
    from patchword.models.config import ImageConfig
    from patchword.models.family import Model
    from patchword.models.folder import examine, find_folder, surface
    from patchword.models.image_processors import read_image_processor
    from patchword.nn.meta import shapes_only

    path = find_folder(folder)
    description = examine(path)
    surface(description.notes)
    config = description.config
    with shapes_only():
        model = Model(description.family, config, description.way_out, description.labels, description.problem)
    architecture = description.family.way_out(description.way_out).architecture
    _line(
        "architecture",
        f"{architecture} ({description.family.model_type}, reads {description.family.modality}s)",
    )
    _line("parameters", f"{model.num_parameters:,}")
    _line("sizes", ", ".join(f"{name} {value}" for name, value in config.model_dump().items()))
    if description.labels:
        _line("labels", f"{len(description.labels)}: {', '.join(description.labels)}")
    if isinstance(config, ImageConfig):
        _line("pictures", read_image_processor(path, description.family, config).told)
    card = read_card(path)
    for name in ("task", "stage", "start", "max_length", "seed"):
        if card.get(name) is not None:
            _line(name, card[name])
    for name, value in card.get("settings", {}).items():
        _line(f"settings: {name}", repr(value) if isinstance(value, str) else value)
    for name, value in card.get("data", {}).items():
        _line(f"data: {name}", value)
    report = card.get("report")
    if card and report is None:
        _line("state", f"not finished; patchword resume {path}")
    for name, metrics in {
        "validation": (report or {}).get("validation"),
        **(report or {}).get("floors", {}),
        "test": (report or {}).get("test"),
        **{f"test: {floor}": metrics for floor, metrics in (report or {}).get("test_floors", {}).items()},
    }.items():
        if metrics:
            shown = {k: v for k, v in metrics.items() if not k.endswith(("_low", "_high"))}
            _line(name, ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v:.4g}" for k, v in shown.items()))
    if card.get("versions"):
        _line("made with", ", ".join(f"{name} {version}" for name, version in card["versions"].items()))


def _line(name: str, value: Any) -> None:
    if isinstance(value, dict):
        value = ", ".join(f"{key} = {item}" for key, item in value.items())
    if isinstance(value, list):
        # What was found in the data is told by its title.
        value = "; ".join(str(item["title"]) if isinstance(item, dict) else str(item) for item in value)
    typer.echo(f"{name:<22} {value}")
