"""`rackrate sweep`: one function, many parameters, nodes that end with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from rackrate.cli.fleet_options import fleet_options, of_owner
from rackrate.cli.output import emit, output_options
from rackrate.errors import UsageError


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.py")
@click.option("--metric", default="loss", show_default=True, help="That `train` reports.")
@click.option("--maximise", is_flag=True, help="More is better.")
@click.option("--prune", help="Stop trials early: asha or median.  [default: let all finish]")
@click.option("--trials", type=int, help="How many.  [default: all of VARIANTS, 64 of SPACE]")
@click.option("--tries", type=int, default=3, show_default=True, help="Attempts until a trial has failed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampler of SPACE.")
@click.option("--name", default="", help="Of the sweep: under it, it goes on if it is begun again.")
@click.option(
    "--preload", multiple=True, metavar="MODULE", help="Import once, for all nodes of this machine."
)
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the curves as SVG."
)
@fleet_options
@output_options
def sweep(
    file: Path,
    metric: str,
    maximise: bool,
    prune: str | None,
    trials: int | None,
    tries: int,
    seed: int,
    name: str,
    svg: Path | None,
    form: str | None,
    **asked: Any,
) -> None:
    """Run `train(params)` of a file with many parameters, on nodes that come up for it and end with it.

    The file also has VARIANTS, a list of mappings, or SPACE, a mapping from names to a list of choices or a
    `rackrate.fleet.Range`. `train` reports with `rackrate.fleet.report(step, loss=...)`.

    \b
    rackrate sweep train.py --nodes 8 --prune asha
    rackrate sweep train.py --nodes 8 --name overnight      # again: goes on where it was
    """
    from rackrate.cli.watch import show  # noqa: PLC0415 - start-up
    from rackrate.fleet import sweep as sweeps  # noqa: PLC0415 - start-up
    from rackrate.fleet.fleet import Fleet  # noqa: PLC0415 - start-up

    how: dict[str, Any] = {
        "metric": metric,
        "minimise": not maximise,
        "prune": prune,
        "trials": trials,
        "tries": tries,
        "seed": seed,
        "name": name,
    }
    with _loaded(file) as module:
        train = _of(module, file, "train")
        space = module.VARIANTS if hasattr(module, "VARIANTS") else _of(module, file, "SPACE", "VARIANTS")
        space = sweeps.readable(space)
        sweeps.asked(train, space, **how)  # before anything is paid for
        with Fleet(**of_owner(**asked)) as fleet:
            running = fleet.sweep(train, space, **how)
            show(running)
            running.best()
            found = running.table()
    emit(found, form)
    if svg:
        svg.write_text(found.to_svg(), encoding="utf-8")
        click.echo(f"wrote {svg}", err=True)


@contextmanager
def _loaded(file: Path) -> Iterator[ModuleType]:
    """Load a file as a module that travels to nodes by value; what lies beside it can be imported."""
    import cloudpickle  # noqa: PLC0415 - start-up

    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec = spec_from_file_location("rackrate_sweep_file", file)
        if spec is None or spec.loader is None:
            raise UsageError(f"{file} is no Python file", hint="its name must end with .py")
        module = module_from_spec(spec)
        sys.modules[module.__name__] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise UsageError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
        cloudpickle.register_pickle_by_value(module)
        try:
            yield module
        finally:
            cloudpickle.unregister_pickle_by_value(module)
    finally:
        sys.modules.pop("rackrate_sweep_file", None)
        sys.path.remove(str(file.resolve().parent))


def _of(module: ModuleType, file: Path, name: str, other: str = "") -> Any:
    if not hasattr(module, name):
        either = f"neither {other} nor {name}" if other else f"no {name}"
        hint = "it needs train(params), and VARIANTS (a list of mappings) or SPACE (a mapping)"
        raise UsageError(f"{file} has {either}", hint=hint)
    return getattr(module, name)
