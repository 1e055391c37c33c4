"""Public projects for the same purpose, on the same data: ``python -m benchmarks.other_projects NAME DATA WORK``.

Each is installed into an environment of its own, ``WORK/NAME``, since it wants other versions than this project does,
and only by who asks for the comparison. Where it cannot be installed, such as without a network, this says so and
prints an empty object. DATA is the folder that ``python -m benchmarks.alternatives lines`` wrote to. Prints JSON:
seconds by part.

rfm         recency, frequency and monetary value per customer, scores by quantiles, named segments by a fixed table. It
            looks at no returns, finds no outliers, and has neither checks nor a history.
lifetimes   the same three figures, and a model of how many orders are to come (BG/NBD). It makes no segments.
pycaret     scaling and K-means behind one interface, with indices for each number of segments. It has no features from
            order lines, no outliers, and leaves the choice of the number to the reader; here the silhouette chooses.

This module is also what runs in those environments: it imports nothing of this project, and theirs inside functions.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Figures = dict[str, float]

REQUIREMENTS = {
    "rfm": ("rfm==1.0.9", "pandas<3", "numpy<2", "pyarrow<20"),
    "lifetimes": ("lifetimes==0.11.3", "pandas<2", "numpy<2", "pyarrow<20", "setuptools<81"),
    "pycaret": ("pycaret==3.3.2", "pyarrow<20", "setuptools<81", "six"),
}
"""What to install; what a project forgets to ask for (six) or is too old for (pandas, numpy) is said here."""
PYTHON = "3.11"


def rfm(data: Path) -> Figures:
    """Segment by RFM; the share of customers whose three figures are those of silver says whether to believe it."""
    import pandas as pd
    from rfm import RFM

    orders, truth = _orders(data), _truth(data)
    started = time.perf_counter()
    found = RFM(orders, customer_id="customer_id", transaction_date="order_date", amount="line_value").rfm_table
    seconds = time.perf_counter() - started
    found = found.set_index("customer_id").loc[truth.index]
    return {
        "seconds": seconds,
        "segments": float(found["segment"].nunique()),
        "share with the right number of orders": float((found["frequency"] == truth["order_count"]).mean()),
        "share with the right value": float(
            ((pd.to_numeric(found["monetary_value"]) - truth["value"]).abs() < 0.005).mean()
        ),
    }


def lifetimes(data: Path) -> Figures:
    """Summarise the orders and fit the model of future orders."""
    from lifetimes import BetaGeoFitter
    from lifetimes.utils import summary_data_from_transaction_data

    orders = _orders(data)
    started = time.perf_counter()
    summary = summary_data_from_transaction_data(orders, "customer_id", "order_date", monetary_value_col="line_value")
    summarised = time.perf_counter()
    fitter = BetaGeoFitter(penalizer_coef=0.01).fit(summary["frequency"], summary["recency"], summary["T"])
    fitter.conditional_expected_number_of_purchases_up_to_time(
        90, summary["frequency"], summary["recency"], summary["T"]
    )
    done = time.perf_counter()
    return {"summary": summarised - started, "model": done - summarised, "seconds": done - started}


def pycaret(data: Path) -> Figures:
    """Cluster the 35 features by K-means for k = 2 to 13 and take the k of the highest silhouette."""
    import pandas as pd
    from pycaret.clustering import ClusteringExperiment

    silver = pd.read_parquet(data / "silver.parquet")
    numbers = silver.select_dtypes("number").drop(columns=["total_quantity", "total_return_quantity"]).astype(float)
    started = time.perf_counter()
    experiment = ClusteringExperiment()
    experiment.setup(numbers, normalize=True, session_id=0, verbose=False, html=False, n_jobs=1)
    silhouettes = {}
    for k in range(2, 14):
        experiment.create_model("kmeans", num_clusters=k, verbose=False)
        silhouettes[k] = float(experiment.pull()["Silhouette"].iloc[0])
    seconds = time.perf_counter() - started
    best = max(silhouettes, key=lambda k: silhouettes[k])
    return {
        "seconds": seconds,
        "segments": float(best),
        "silhouette": silhouettes[best],
        "features": float(numbers.shape[1]),
    }


PROJECTS: dict[str, Callable[[Path], Figures]] = {"rfm": rfm, "lifetimes": lifetimes, "pycaret": pycaret}


def _orders(data: Path):  # type: ignore[no-untyped-def]
    """Orders as such projects want them: one row per order with its date and value."""
    import pandas as pd

    lines = pd.read_parquet(data / "lines.parquet", columns=["customer_id", "order_id", "order_date", "line_value"])
    orders = lines.groupby(["customer_id", "order_id"], as_index=False).agg({"order_date": "min", "line_value": "sum"})
    return orders[["customer_id", "order_date", "line_value"]].astype({"customer_id": object})


def _truth(data: Path):  # type: ignore[no-untyped-def]
    import pandas as pd

    silver = pd.read_parquet(data / "silver.parquet").set_index("customer_id")
    return silver.assign(value=silver["mean_order_value"] * silver["order_count"])


def installed(name: str, requirements: Sequence[str], work: Path) -> Path | None:
    """Return the Python of a project's environment, made where it is missing; None where that is not possible."""
    folder, made_for = work / name, work / name / "requirements.txt"
    python, wanted = folder / "bin" / "python", "\n".join(requirements)
    if made_for.exists() and made_for.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        ("venv", "--quiet", "--python", PYTHON, str(folder)),
        ("pip", "install", "--quiet", "--python", str(python), *requirements),
    ):
        made = subprocess.run([sys.executable, "-m", "uv", *command], capture_output=True, text=True)
        if made.returncode:
            reason = " ".join(made.stderr.split())
            print(f"{name} is left out, since it cannot be installed here: {reason}", file=sys.stderr)
            return None
    made_for.write_text(wanted)
    return python


def main(arguments: Sequence[str]) -> Figures:
    if arguments[0] == "--inside":
        return PROJECTS[arguments[1]](Path(arguments[2]))
    name, data, work = arguments[0], Path(arguments[1]).resolve(), Path(arguments[2]).resolve()
    python = installed(name, REQUIREMENTS[name], work)
    if python is None:
        return {}
    # -I: without this project's folder and the caller's settings; in WORK, since pycaret leaves a log where it runs
    command = [str(python), "-I", __file__, "--inside", name, str(data)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=work)
    figures: Figures = json.loads(ran.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
