"""The ``liesmith`` command, one function a subcommand. Flags are fields of the dataclasses that do the work."""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from tasks.common.report import NOTHING
from tasks.latent.study import LatentStudy
from tasks.top_tagging.simulation.generate import JetGenerator
from tasks.top_tagging.study import TopTagging
from tasks.two_body.study import TwoBody
from tasks.user_data.discover import Discovery
from tasks.user_data.show import Show

__all__ = ["app", "main"]

BAD_INPUT, STOPPED = 2, 130
log = logging.getLogger(__name__)

app = App(
    name="liesmith",
    help="Data go in; the Lie algebra of their symmetries and equivariant models come out.",
    help_format="plaintext",  # markdown would swallow the * of 5*V
    help_epilogue="""Start here:
  liesmith two-body --quick            a symmetry of orbits in half a minute
  liesmith discover table.csv --y t    a symmetry of your own table
  liesmith show algebra.safetensors    the matrices of an algebra
  liesmith COMMAND --help              an example and all options""",
    version=version("liesmith"),
    suppress_keyboard_interrupt=False,
)


@app.command(name="two-body")
def two_body(
    study: Annotated[TwoBody | None, Parameter(name="*")] = None,
    *,
    quick: bool = False,
) -> None:
    """Orbits end to end: discover the rotation, refine it, build models with it, compare them with plain ones.

    Example: liesmith two-body --seeds 3 --out runs/orbits

    Args:
        quick: half a minute: fewer orbits and steps where they are not given; figures only show that it works.
    """
    from tasks.common.plots import save_figure
    from tasks.two_body.report import COLUMNS, draw_overview, write_two_body_report

    study = study or TwoBody()
    if quick and study.paper:
        raise ValueError("--quick and --paper exclude each other; give one")
    if quick:
        study = study.quick()
    results = study.run()
    write_two_body_report(study.out / "report.html", results, study.config(), study.warning)
    save_figure(draw_overview(results), study.out / "overview.png")
    print(f"\n{results.table.table(COLUMNS)}\n\nEverything is in {study.out}; read {study.out}/report.html.")


@app.command(name="jets")
def jets(generator: Annotated[JetGenerator, Parameter(name="*")]) -> None:
    """Generate top and QCD jets in shards (extra jets); a run that was stopped is resumed.

    Example: liesmith jets --out jets --shards 0..9
    """
    generator.run()


@app.command(name="top-tagging")
def top_tagging(study: Annotated[TopTagging | None, Parameter(name="*")] = None) -> None:
    """Top tagging: discover a metric in jets, train taggers with it and without, compare them.

    Example: liesmith top-tagging --jets jets --quick
    """
    from tasks.top_tagging.results import tagger_table

    study = study or TopTagging()
    table = tagger_table(study.run().table.summary())
    log.info("\n%s\n\nEverything is in %s; read %s/report.html.", table, study.out, study.out)


@app.command(name="latent")
def latent(system: str, study: Annotated[LatentStudy | None, Parameter(name="*")] = None) -> None:
    """Find a symmetry that is linear in a learned latent space, and the equation of motion there.

    Example: liesmith latent pendulum --quick

    Args:
        system: reaction-diffusion, reaction-diffusion-3d, pendulum, lotka-volterra, double-bump or rotating-object.
    """
    from tasks.latent.report import write_latent_report

    study = study or LatentStudy()
    headline = write_latent_report(study, study.run(system))
    for line in (headline.warning, headline.found, headline.gain, headline.sure):
        if line:
            print(line)
    print(f"\nEverything is in {study.folder(system)}; read {study.folder(system)}/report.html.")


@app.command(name="discover")
def discover(file: Path, discovery: Annotated[Discovery | None, Parameter(name="*")] = None) -> None:
    """Look for linear symmetries in FILE (.npz, .npy, .csv, .safetensors).

    Example: liesmith discover table.csv --x x,y,z --y energy --y-rep Scalar

    Args:
        file: the data; rows are samples, columns are named where the format has names.
    """
    discovery = discovery or Discovery()
    if discovery.method == "auto":
        report, folder = discovery.find(file), discovery.folder(file)
        print(f"{report}\n\nEverything is in {folder}; read {folder}/report.html.")
        return
    estimator, refinement = discovery.run(file)
    folder = discovery.folder(file)
    verdict = NOTHING if estimator.verdict_ is None else estimator.verdict_
    print(f"{verdict}\n\n{refinement}\n\nEverything is in {folder}; read {folder}/report.html.")


@app.command(name="show")
def show(file: Path, options: Annotated[Show | None, Parameter(name="*")] = None) -> None:
    """Print and draw the algebra in FILE: matrices, spectrum, name, data before and after g.

    Example: liesmith show runs/discover-table/algebra.safetensors --data table.csv --x x,y,z

    Args:
        file: an algebra that discover, two-body or LieAlgebra.save wrote.
    """
    print((options or Show()).run(file))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, 2 after a sentence about bad input, 130 after Ctrl-C."""
    import torch

    torch.set_num_threads(1)  # tensors are small here; more threads wait for each other
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("tasks").addHandler(_TERMINAL)
    logging.getLogger("tasks").setLevel(logging.INFO)
    try:
        app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        _say(f"stopped; to go on from the last checkpoint, run again: liesmith {' '.join(given)}")
        sys.exit(STOPPED)
    except CycloptsError as error:
        _say(f"{error} See liesmith --help.")
        sys.exit(BAD_INPUT)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        _say(str(error))
        sys.exit(BAD_INPUT)


class _Terminal(logging.Handler):
    """Prints what is logged; of several processes that do the same only the first one's."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            print(self.format(record), flush=True)


_TERMINAL = _Terminal()


def _say(sentence: str) -> None:
    print(f"liesmith: {' '.join(sentence.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
