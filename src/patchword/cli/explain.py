"""`patchword explain`: where every parameter, FLOP and byte of a model goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from patchword.explain.size import Size


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("explain")(explain)


def explain(
    model: Annotated[str, typer.Argument(help="A preset, a model folder, a run, or a hub name.")],
    length: Annotated[
        int | None, typer.Option(help="Tokens of one text (512, or the most it takes, if not given).")
    ] = None,
    batch: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
    training: Annotated[bool, typer.Option(help="While it learns, or while it is used.")] = True,
    targets: Annotated[
        float | None, typer.Option(help="Share of the tokens whose words are scored (1): 0.15 under a mask.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="Its head; the one it is pretrained with if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
) -> None:
    """Where every parameter, FLOP and byte of a model goes, from its config alone."""
    import json

    from patchword.explain.size import explain as size

    found = size(model, length=length, batch=batch, training=training, targets=targets, way_out=head)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found)


def _show(size: Size) -> None:
    from rich.table import Table

    from patchword.console import PlainConsole, plain

    console = PlainConsole()
    console.print(plain(size.name, "bold") + plain(f": {size.family}, head {size.way_out}"))
    table = Table()
    columns = ["part", "parameters"]
    mixture = size.total("active") != size.total("parameters")
    columns += ["active"] if mixture else []
    columns += ["% of them", "MFLOPs forward", "% of them"] + (["kept, MB"] if size.training else [])
    for name in columns:
        table.add_column(name, justify="left" if name == "part" else "right")

    def row(name: str, count: int, active: int, flops: int, kept: int, last: bool = False) -> None:
        cells = [name, f"{count:,}", *([f"{active:,}"] if mixture else [])]
        cells += [f"{100 * count / size.total('parameters'):.1f}", f"{flops / 1e6:,.1f}"]
        cells += [f"{100 * flops / size.flops:.1f}", *([f"{kept / 1e6:,.1f}"] if size.training else [])]
        table.add_row(*cells, end_section=last)

    for i, part in enumerate(size.parts):
        flops = part.products + part.attention
        row(part.name, part.parameters, part.active, flops, part.kept, last=i == len(size.parts) - 1)
    row("all", size.total("parameters"), size.total("active"), size.flops, size.total("kept"))
    console.print(table)
    for name, value in _lines(size):
        console.print(f"{name:<22} {value}", soft_wrap=True)


def _lines(size: Size) -> list[tuple[str, str]]:
    """What the table does not say: (name, value)."""
    tokens = f"{size.tokens:,} tokens"
    if size.patches:
        rows, columns = size.patches
        patches = rows * columns
        tokens += f": {rows} x {columns} = {patches} patches and {size.tokens - patches} more"
    if size.written:
        tokens += f" read, {size.written:,} written"
    lines = [("one input", tokens)]
    if size.attention_matrices:
        matrices = (
            f"{size.attention_matrices} matrices (heads of all layers), {size.attention_entries:,} entries in all"
        )
        if size.written in (0, size.tokens):
            matrices += f", {size.tokens:,}^2 = {size.tokens**2:,} in each"
        if size.patches:
            matrices += f" ({patches}^2 = {patches**2:,} of patches with patches)"
        lines += [("attention", matrices), ("", "a fused kernel never stores them")]
    products, attention = size.total("products"), size.total("attention")
    lines += [
        ("weights", f"{_bytes(size.weight_bytes['fp32'])} in fp32, {_bytes(size.weight_bytes['bf16'])} in bf16"),
        (
            "forward",
            f"{_flops(size.flops)} a sequence, {_flops(size.flops / max(size.tokens, 1))} a token: "
            f"{100 * products / size.flops:.1f} % with weights, "
            f"{100 * attention / size.flops:.1f} % tokens with tokens (those behind a mask too)",
        ),
    ]
    if any(part.name == "loss" for part in size.parts):
        lines.append(("", f"words are scored for {100 * size.targets:.0f} % of the tokens (--targets)"))
    if size.training:
        lines.append(("learning", f"{_flops(size.training_flops)} a sequence: 3 x forward"))
    if size.batch > 1:
        times = size.training_flops if size.training else size.flops
        lines.append((f"batch of {size.batch}", _flops(size.batch * times)))
    if size.training:
        held = size.training_bytes
        lines.append(
            (
                "memory to learn",
                f"{_bytes(sum(held.values()))} in fp32: weights {_bytes(held['weights'])}, gradients "
                f"{_bytes(held['gradients'])}, AdamW {_bytes(held['adamw'])}, kept of {size.batch} "
                f"sequence{'s' if size.batch > 1 else ''} {_bytes(held['activations'])}",
            )
        )
        if kept := size.total("matrices"):
            lines.append(
                (
                    "",
                    f"of it attention matrices: {_bytes(size.batch * kept)}, which a CPU keeps where they have "
                    "dropout or a learnt bias; with neither, none",
                )
            )
    if size.cache_per_token:
        per_token = f"{_bytes(2 * size.cache_per_token)} a token in bf16"
        if size.cache_per_read_token:
            per_token += f", {_bytes(2 * size.cache_per_read_token)} a token that is read"
        lines.append(("keys and values", f"{per_token}; {_bytes(2 * size.batch * size.cache_full)} in full"))
    return lines


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB" if count >= 1e6 else _kilo(count)


def _kilo(count: float) -> str:
    return f"{count / 1e3:,.1f} kB"


def _flops(count: float) -> str:
    return f"{count / 1e12:,.2f} TFLOPs" if count >= 1e12 else f"{count / 1e9:,.2f} GFLOPs"
